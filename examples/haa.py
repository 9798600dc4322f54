"""H -> aa -> 4 photons against Born diphotons.

Each a of 1 GeV decays to two photons so close that they look like one. The score must not depend on the mass
of the two reconstructed photons.

    python -m e2e_jax.main --config=configs/cms_b.py --config.dataset.name=examples/haa.py:quick
"""

from e2e_jax.study import QuickLook, Sample, Size, Study, Task, photons, pythia

LOOK = QuickLook(pt=17, eta=1.55)

STUDY = Study(
    samples=(
        Sample("gamma_gamma", pythia("diphoton_born"), veto_eta=1.9, quick_look=LOOK),
        Sample(
            "h_aa",
            pythia(
                "HiggsSM:gg2H = on",
                "25:onMode = off",
                "25:addChannel = 1 1.0 100 36 36",
                "36:m0 = 1.0",
                "36:mMin = 0.9",  # by default 50 GeV, and wide
                "36:mWidth = 0.001",
                "36:doForceWidth = on",
                "36:onMode = off",
                "36:addChannel = 1 1.0 100 22 22",
            ),
            quick_look=LOOK,
        ),
    ),
    select=photons(count=2, pt=20, abs_eta=1.44, mass=(100, 180)),
    sizes={"quick": Size(train=1000, validation=300)},
    task=Task(signal="h_aa", decorrelate="mass", of="gamma_gamma"),
)
