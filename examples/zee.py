"""Z -> ee against Born diphotons: two electrons are reconstructed as two photons, their tracks differ.

python -m e2e_jax.main --config=configs/cms_b.py --config.dataset.name=examples/zee.py:quick
"""

from e2e_jax.study import QuickLook, Sample, Size, Study, Task, photons, pythia

LOOK = QuickLook(pt=17, eta=1.55, mass=55)

STUDY = Study(
    samples=(
        Sample("gamma_gamma", pythia("diphoton_born"), veto_eta=1.9, quick_look=LOOK),
        Sample(
            "z_ee",
            pythia(
                "WeakSingleBoson:ffbar2gmZ = on",
                "23:onMode = off",
                "23:onIfAny = 11",
                "PhaseSpace:mHatMin = 60.",
                "PhaseSpace:mHatMax = 120.",
            ),
            quick_look=LOOK,
        ),
    ),
    select=photons(count=2, pt=20, abs_eta=1.44, mass=(60, 120)),
    sizes={"quick": Size(train=1000, validation=300)},
    task=Task(signal="z_ee", decorrelate="mass", of="gamma_gamma"),
)
