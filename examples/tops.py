"""Top pairs against QCD multijets, without any photon: the whole detector is seen.

python -m e2e_jax.main --config=configs/cms_b.py --config.dataset.name=examples/tops.py:quick
"""

from e2e_jax.study import Observable, Sample, Selected, Selection, Size, Study, Task, pythia, sum_et

LEAST = 250.0
"""GeV."""


def energetic(events):
    """Events with a large sum of transverse energies."""
    energy = sum_et(events)
    above = energy > LEAST
    return Selected(above, {"sum_et": energy}, {f"sum of ET above {LEAST:g} GeV": above})


STUDY = Study(
    samples=(
        Sample("multijet", pythia("HardQCD:all = on", "PhaseSpace:pTHatMin = 120.")),
        Sample("top_pair", pythia("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")),
    ),
    select=Selection(energetic, [Observable("sum_et", "GeV", "Sum of transverse energies")]),
    sizes={"quick": Size(train=600, validation=200)},
    task=Task(signal="top_pair", decorrelate="sum_et", of="multijet"),
)
