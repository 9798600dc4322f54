"""Quark jets against gluon jets, and boosted top quarks against other jets.

The simulated jets follow M. Andrews et al., arXiv:1902.08276: dijets of two light quarks or of two gluons
with a transverse momentum of the hard process of 90 to 170 GeV, and jets above 70 GeV, labeled by the matched
parton. Each collision gives all jets that pass, one or two.
"""

from e2e_jax.study import Sample, Size, Study, Task, images, jets, pythia
from e2e_jax.study.jet_selection import MASS, PT, every_jet

LABELS = ("gluon", "quark")
"""In the order of the authors' files: y is 1 for a quark."""

PARTONS = {"gluon": (21,), "quark": (1, 2, 3)}

_RANGE = ("PhaseSpace:pTHatMin = 90.", "PhaseSpace:pTHatMax = 170.")

SIZES = {
    "quick": Size(2_000, 500, test=0, description="Made in minutes on two cores."),
    "medium": Size(15_000, 3_000, description="Where a network reaches a tree on jet shapes."),
    "paper": Size(69_653, 10_000, fast=False, description="The public files have 139,306 jets."),
}

DESCRIPTION = """\
Jets of light quarks and of gluons in proton-proton collisions at 8 TeV, in two balanced classes. Each event
is one jet: what the tracker, the ECAL and the HCAL measured in 125 x 125 crystals around it, its transverse
momentum and mass; decoded, the hits become images.

The simulated configs are a **fast simulation**: Pythia 8 and a parametrised detector response. No result on
them stands for a result on the public files of "End-to-End Jet Classification of Quarks and Gluons with the
CMS Open Data", which other configs read."""

_SIMULATED = Study(
    samples=(
        Sample("gluon", pythia("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on", *_RANGE), job_events=250),
        Sample(
            "quark",
            pythia(
                "HardQCD:qq2qq = on",
                "HardQCD:gg2qqbar = on",
                "HardQCD:qqbar2qqbarNew = on",
                *_RANGE,
            ),
            job_events=250,
        ),
    ),
    select=jets(PARTONS, pt=70, abs_eta=1.8, radius=0.5),
    sizes=SIZES,
    task=Task(signal="quark", efficiencies=(50, 70, 90)),
    name="cms_jets",
    description=DESCRIPTION,
)

CHANNELS = ("tracks", "ecal", "hcal")
"""Channels of the public images of quarks and gluons, in the order of the files."""

TOP_CHANNELS = ("tracks", "d0", "dz", "ecal", "hcal", "pixel_1", "pixel_2", "pixel_3")
"""Channels of the public images of boosted top quarks, in the order of the authors' converter."""


def _public(source, labels, signal: str, observables=(PT, MASS)) -> Study:
    return Study(
        samples=[Sample(label, source) for label in labels],
        select=every_jet(observables),
        task=Task(signal=signal, efficiencies=(50, 70, 90)),
        name="cms_jets",
        description=DESCRIPTION,
    )


STUDIES = {
    "simulated": _SIMULATED,
    "quark_gluon": _public(images(*CHANNELS), LABELS, "quark"),
    "tops": _public(images(*TOP_CHANNELS), ("qcd", "top"), "top"),
    "tops_unlabelled": _public(images(*TOP_CHANNELS, labelled=False), ("qcd", "top"), "top", ()),
}
"""Source of the jets -> study."""

TASK = STUDIES["simulated"].task
