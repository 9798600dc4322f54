"""H -> gamma gamma against Born diphotons and photon+jet: the paper's collisions.

An event is kept if it has exactly two reconstructed photons above 20 GeV, both in the fiducial volume, with
a diphoton mass above 90 GeV (Andrews et al., arXiv:1807.11916, Section 2). All samples have the era
proportions of the paper's Table 1, so pile-up and detector conditions do not separate the classes.
"""

import dataclasses
import math

from e2e_jax.study import Era, QuickLook, Sample, Size, Study, Task, photons, pythia

LABELS = ("gamma_gamma", "h", "gamma_jet")
"""In the order of the authors' files: 0 Born gamma gamma, 1 H, 2 gamma+jet."""

_PROFILES = {
    "2012AB": """0 0 0 2 3 33 229 604 1238 2088 3023 4019 4862 5455 5914 6246 6281 6092 5833 5583 5407 5326
        5296 5232 5016 4561 3865 3009 2120 1332 738 358 152 57 19 6 1""",
    "2012C": """0 0 0 1 4 19 69 198 458 964 2307 5009 7337 8159 8284 8106 7556 6873 6315 5832 5402 5023 4659
        4270 3799 3200 2475 1711 1035 543 246 97 33 10 3 1""",
    "2012D": """0 0 0 1 1 6 34 89 237 686 1450 2601 3604 4202 4579 4823 5032 5257 5463 5612 5689 5709 5666
        5537 5319 5015 4631 4175 3648 3064 2454 1863 1334 900 572 343 194 105 54 27 13 6 3 1""",
}
PROFILES = {era: tuple(map(int, weights.split())) for era, weights in _PROFILES.items()}
"""Era -> weights of means of 0, 1, 2, ... collisions per crossing, from CMSSW 5_3
(`mix_2012AB_Profile_PoissonOOTPU_cfi` and the files of 2012C and 2012D). The means are 18.4, 17.4 and 20.7.
The paper does not state the pile-up: we assume that its run-dependent samples, which have the same eras, used
these profiles."""


def _eras(ab: int, c: int, d: int) -> tuple[Era, ...]:
    numbers = (("2012AB", 194533, ab), ("2012C", 200519, c), ("2012D", 206859, d))
    return tuple(Era(name, run, share, profile=PROFILES[name]) for name, run, share in numbers)


ERAS = {
    "central": _eras(16308, 24538, 22206),
    "central_forward": _eras(35141, 47885, 52576),
}
"""Runs and shares of the paper's Table 1."""

ACCEPTANCE = {
    "central": ((0.0, 1.44),),
    "central_forward": ((0.0, 1.44), (1.54, 2.3)),
    "central_forward_157": ((0.0, 1.44), (1.57, 2.3)),
}
"""Category -> intervals of abs(eta). The first two are from the paper, the third is from its public code."""

SELECTIONS = {
    category: photons(count=2, pt=20, abs_eta=acceptance, mass=(90, math.inf))
    for category, acceptance in ACCEPTANCE.items()
}

MIN_MASS_HAT = "PhaseSpace:mHatMin = 85.0"
"""Minimum mass of the hard process in gamma_gamma and gamma_jet, GeV.

The selection requires a diphoton mass of 90 GeV. Before resolution, 7e-4 of the gamma_gamma events and none
of 1844 gamma_jet events that reach this mass have a hard process below 90 GeV."""


PAIR_MASS = 87.0
"""Minimum mass of the early veto at 2 GeV for central gamma_jet, GeV; the selection requires 90 GeV.

Of 250,000 collisions in the fast mode, 4423 were selected, none of them below it (benchmarks/early_veto.py).
The veto is off in the other categories, for which its loss was not measured, and for gamma_gamma, for which
it would drop 5 % of the events that pass the quick look.
"""


def _study(category: str) -> Study:
    central = category == "central"
    # Only the 2 -> 2 processes have the veto, because initial-state radiation moves the photons of a Higgs
    # boson further: 8 % of the selected h events start beyond 1.9, but only 0.6 % of gamma_gamma and 1.4 % of
    # gamma_jet. Of the events that reach the quick look with eta = 2.45, 0.3 % and 1 % start beyond 2.9.
    veto, eta = (1.9, 1.55) if central else (2.9, 2.45)
    eras = ERAS["central" if central else "central_forward"]
    look = QuickLook(pt=17.0, eta=eta)
    return Study(
        samples=(
            Sample(
                "gamma_gamma", pythia("diphoton_born", MIN_MASS_HAT), eras, veto_eta=veto, quick_look=look
            ),
            Sample("h", pythia("higgs_to_photons"), eras, quick_look=look),
            Sample(
                "gamma_jet",
                pythia("photon_jet", MIN_MASS_HAT),
                eras,
                veto_eta=veto,
                pair_mass=PAIR_MASS if central else 0.0,
                quick_look=dataclasses.replace(look, pt=14.0),
                em_enriched=True,
                job_events=200,  # because few photon-like jets pass the selection
                cost=20.0,
            ),
        ),
        select=SELECTIONS[category],
        sizes=SIZES["central" if central else "central_forward"],
        task=Task(
            signal="h",
            decorrelate="mass",
            of="gamma_gamma",
            titles={"gamma_gamma": "γγ", "h": "H", "gamma_jet": "γ+jet"},
        ),
        name="cms_hgg",
        detector="barrel" if central else "all",
        description=DESCRIPTION,
    )


DESCRIPTION = """\
Events with two photons in proton-proton collisions at 8 TeV, as the CMS detector would record them, in
three balanced classes: Higgs bosons decaying to two photons (`h`), prompt photon pairs (`gamma_gamma`) and
a photon with a photon-like jet (`gamma_jet`). Each event holds its ECAL, HCAL and track hits in the
detector's own cells, its photons, and the mass of two; decoded, the hits become images of the ECAL barrel.

The events of the configs `opendata_...` are full simulation by CMS, read from AODSIM files of the CERN Open
Data portal (or the user's own). Those of all other configs are a **fast simulation**: Pythia 8 and a
parametrised detector response. They have the selection, the classes and the era proportions of "End-to-End
Physics Event Classification with CMS Open Data", but no result on them stands for a result on the Open
Data."""

_SIZES = {
    "quick": Size(2_000, 600, description="Made in minutes on two cores."),
    "medium": Size(15_000, 3_000, description="Where the paper's pattern shows."),
}

SIZES = {
    "central": {**_SIZES, "paper": Size(51_200, 11_800, fast=False, description="The paper's statistics.")},
    "central_forward": {
        **_SIZES,
        "paper": Size(120_000, 15_600, fast=False, description="The paper's statistics."),
    },
}

STUDIES = {category: _study(category) for category in ACCEPTANCE}
"""Category of the photon acceptance (`ACCEPTANCE`) -> study."""

TASK = STUDIES["central"].task
MASS = TASK.observables[0]
