import builtins
import itertools
import subprocess
import sys

import numpy as np
import pytest

from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import generator
from e2e_jax.sources.simulation.generator import MINIMUM_BIAS, NEUTRINOS, generate
from e2e_jax.studies import hgg
from e2e_jax.study.samples import QuickLook, Sample, pythia

SAMPLES = {sample.label: sample for sample in (*hgg.STUDIES["central"].samples, MINIMUM_BIAS)}


def take(events, label, **how):
    """The first events of a generation, as one record."""
    chunks = generate(SAMPLES[label], **how)
    parts, have = [], 0
    while have < events:
        parts.append(next(chunks))
        have += len(parts[-1])
    return Ragged.concatenate(parts)[:events]


def same(first, second):
    equal = [np.array_equal(first.columns[name], second.columns[name]) for name in first.columns]
    return np.array_equal(first.offsets, second.offsets) and all(equal)


@pytest.fixture(scope="module")
def higgs():
    return take(40, "h", seed=3, fast=True)


@pytest.fixture(scope="module")
def minimum_bias():
    return take(20, "minimum_bias", seed=2, chunk=20)


def test_the_seed_decides_the_events_and_the_chunk_does_not(higgs):
    assert same(higgs, take(40, "h", seed=3, fast=True, chunk=23))
    assert not same(higgs, take(40, "h", seed=4, fast=True))


FIRST_BATCH = """
import sys
from e2e_jax.study.samples import Sample, pythia
from e2e_jax.sources.simulation import generator

pythia, _ = generator.start_pythia(Sample("h", pythia("higgs_to_photons")), 1, fast=True)
before = set(sys.modules)
pythia.nextBatch(1)
print(sorted(set(sys.modules) - before))
"""


def test_the_first_events_of_a_process_import_nothing():
    """Imports in Pythia's C++ code can deadlock threads."""
    done = subprocess.run([sys.executable, "-c", FIRST_BATCH], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_photons_carry_the_higgs_mass(higgs):
    photons = higgs.filter((higgs.pdg == 22) & (np.hypot(higgs.px, higgs.py) > 10)).padded()
    total = {axis: photons[axis][:, :, None] + photons[axis][:, None, :] for axis in ("px", "py", "pz", "e")}
    mass = np.sqrt(np.maximum(total["e"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2, 0))
    # A few photons split into a pair in the shower.
    assert np.mean(np.abs(mass - 125.0).min((1, 2)) < 0.1) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("process", SAMPLES)
def test_particles_are_final_visible_and_physical(process, minimum_bias):
    hard = process != "minimum_bias"
    particles = take(5, process, seed=1, fast=True, filters=False, chunk=5) if hard else minimum_bias
    for name in ("px", "py", "pz", "e", "x", "y", "z"):
        assert np.isfinite(particles.columns[name]).all()
    assert not np.isin(np.abs(particles.pdg), [*NEUTRINOS, 111, 1, 2, 3, 4, 5, 21, 25, 90]).any()
    # Energy and momentum are those of the proton beams minus the neutrinos.
    energy = np.bincount(particles.event_index, particles.e)
    assert (energy < 8000.0 * (1 + 1e-6)).all()
    assert (energy > 4000.0).all()
    mass2 = particles.e**2 - particles.px**2 - particles.py**2 - particles.pz**2
    assert (mass2 > -1e-3 * np.maximum(1.0, particles.e)).all()


@pytest.mark.slow
def test_charges_follow_the_particle_kind_and_add_up(minimum_bias):
    particles = minimum_bias
    known = {
        22: 0,
        11: -1,
        -11: 1,
        13: -1,
        211: 1,
        -211: -1,
        321: 1,
        -321: -1,
        2212: 1,
        -2212: -1,
        130: 0,
        2112: 0,
    }
    for kind, charge in known.items():
        assert (particles.charge[particles.pdg == kind] == charge).all()
    assert (np.bincount(particles.event_index, particles.charge) == 2).all()  # charge of the two protons


@pytest.mark.slow
def test_long_lived_particles_reach_the_detector_and_short_lived_ones_decay(minimum_bias):
    particles = minimum_bias
    assert (np.abs(particles.pdg) == 310).any()
    distance = np.sqrt(particles.x**2 + particles.y**2 + particles.z**2)
    assert distance.max() > 0
    assert np.median(distance) < 1e-3


def test_events_that_lose_energy_or_momentum_are_dropped():
    columns = {"status": [-11, 1, 1] * 4, "px": [0.0] * 12, "py": [0.0] * 12}
    columns["pz"] = [0, 3, -3, 0, 3, -2, 0, 3, -3, 0, 3, np.nan]
    columns["e"] = [8, 4, 4, 8, 4, 4, 8, 4, 3.9, 8, 4, 4]
    record = Ragged.from_counts(np.full(4, 3), {name: np.array(values) for name, values in columns.items()})
    assert generator.conserving(record).tolist() == [True, False, False, False]


def test_statistics_count_what_was_made_and_kept():
    chunks = generate(SAMPLES["gamma_gamma"], 1, fast=True, chunk=30)
    kept = sum(len(chunk) for chunk in itertools.islice(chunks, 2))
    assert chunks.generated == 60
    assert 0 < chunks.passed == kept < 60
    assert 2 < chunks.cross_section < 8  # pb, after the veto


def test_photons_of_the_central_category_are_central():
    particles = take(30, "gamma_gamma", seed=1, fast=True)
    pt = np.hypot(particles.px, particles.py)
    central = (particles.pdg == 22) & (pt > 10) & (np.abs(np.arcsinh(particles.pz / pt)) < 1.6)
    assert (np.bincount(particles.event_index[central], minlength=30) >= 1).all()


def test_nothing_is_printed(capfd):
    take(2, "gamma_jet", seed=1, fast=True)
    assert capfd.readouterr() == ("", "")


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="Seed -1"):
        generate(SAMPLES["h"], -1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["Higgs:all = on"], "refuses the setting 'Higgs:all = on' of .*'a'.*not found"),
        (
            ["HardQCD:all = on", "PhaseSpace:pTHatMin = low"],
            "refuses the setting 'PhaseSpace.*not meaningful",
        ),
        (["HardQCD:all = on", "36:spin = 1"], "refuses the setting '36:spin = 1'.*not found in Particle"),
        (["25:m0 = 125"], "cannot start with the settings of the sample 'a'"),
    ],
)
def test_what_pythia_says_about_a_setting_is_told(settings, message, capfd):
    with pytest.raises(StudyError, match=message):
        generate(Sample("a", pythia(*settings)), 1)
    assert capfd.readouterr().out == ""


def test_filters_that_no_event_passes_are_refused(monkeypatch):
    monkeypatch.setattr(generator, "MOST_IN_VAIN", 200)
    sample = Sample("a", pythia("diphoton_born"), quick_look=QuickLook(pt=17, eta=1.5, mass=4000))
    with pytest.raises(StudyError, match="None of the first 200 events of a passed"):
        next(generate(sample, 1, fast=True))


def test_a_missing_pythia_is_named_with_the_way_out(monkeypatch):
    real_import = builtins.__import__

    def without_pythia(name, *args, **kwargs):
        if name == "pythia8mc":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pythia)
    with pytest.raises(ImportError, match="pip install"):
        generate(SAMPLES["h"], 1)
