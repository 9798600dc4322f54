"""Showers in the ECAL barrel: electrons against photons, and the mass of a -> gamma gamma."""

from e2e_jax.study import Sample, Size, Study, Task, decay, gun

LABELS = ("photon", "electron")
"""As in the public files. For pairs they mean gamma gamma and e+ e-."""

SIZES = {
    "quick": Size(2_000, 500, description="Made in a minute on two cores."),
    "medium": Size(20_000, 4_000, description="Where the paper's pattern shows."),
    "paper": Size(199_200, 49_800, description="The paper's statistics, 249,000 of each class."),
}

_BARREL = {"view": "barrel", "pt": (20.0, 100.0)}

# The digis of crops are inputs of a classifier. Digis would make barrel events ten times larger.
_GUNS = {
    "crops": {"view": "crop", "digis": True},
    "barrel": _BARREL,
    "pairs": {"kind": "pair", **_BARREL},
}

STUDIES = {
    name: Study(
        samples=[Sample(label, gun(label, **options), pileup=0.0, job_events=2000) for label in LABELS],
        sizes=SIZES,
        task=Task(signal="electron", efficiencies=(50, 70, 90)),
        name="ecal_showers",
        description="""\
Electrons and photons in the barrel of the CMS electromagnetic calorimeter, in two balanced classes, to be
told apart by the shape of their showers. Each event holds the energy and time of the crystals that were
read out and, in the crops, their ten ADC samples; decoded, they become images.

`crops_...` are 32 x 32 crystals around the shower maximum, `barrel_...` the whole barrel with one particle,
`pairs_...` the whole barrel with e+ e- or two photons of independent directions. All these are a **fast
simulation** of particle guns: tracker material, magnetic field and a parametrised detector response.
`crops_hdf5` reads the crops of full simulation that the authors of "End-to-End Physics Event Classification
with CMS Open Data" made public. No result on the former stands for a result on the latter.""",
    )
    for name, options in _GUNS.items()
}
"""Category -> study: crops around a shower, the whole barrel, or the barrel with two particles."""

DECAY_SIZES = {
    "quick": Size(40_000, 4_000, test=0, description="Made in a minute on two cores."),
    "medium": Size(150_000, 10_000, test=0),
    "paper": Size(400_000, 50_000, test=0),
}

STUDIES["decays"] = Study(
    samples=[
        Sample("a", decay(mass=(0.0, 1.2), pt=(30.0, 90.0), view="crop"), pileup=0.0, job_events=2000),
    ],
    sizes=DECAY_SIZES,
    task=Task(kind="regression", targets="mass_a"),
    name="ecal_showers",
    description="""\
Decays a -> gamma gamma in the barrel of the CMS electromagnetic calorimeter, whose two photons make one
cluster: crops of 32 x 32 crystals around the shower maximum. The mass of a, flat from 0 to 1.2 GeV, is what
is learnt. A **fast simulation** of a particle gun, without pile-up.""",
)

TASK = STUDIES["crops"].task
