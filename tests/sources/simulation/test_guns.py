"""Particle guns: shot particles, interactions in the tracker, and hits in the barrel."""

import dataclasses
import pickle

import numpy as np
import pytest

from e2e_jax.detector import crops, geometry
from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import guns, pileup
from e2e_jax.sources.simulation.jobs import GunJob, simulation_jobs
from e2e_jax.studies.showers import LABELS, STUDIES
from e2e_jax.study.samples import Sample, decay, gun

PHOTON, ELECTRON = (LABELS.index(name) for name in ("photon", "electron"))
EVENTS = 300


def job(label, seed, events, **options):
    return GunJob(Sample(LABELS[label], gun(LABELS[label], **options)), label, seed, events)


def shot(label: int, **options):
    return guns.produce(job(label, seed=3 + label, events=EVENTS, **options))


@pytest.fixture(scope="module")
def photons():
    return shot(PHOTON)


@pytest.fixture(scope="module")
def electrons():
    return shot(ELECTRON, digis=True)


@pytest.fixture(scope="module")
def pairs():
    return guns.produce(job(ELECTRON, 5, 100, kind="pair", pt=(20, 100), view="barrel"))


def images(showers) -> np.ndarray:
    made = np.zeros((len(showers), *crops.SHAPES["crop"]))
    row, column = np.divmod(showers.crystals.cell, crops.SIDE)
    made[showers.crystals.event_index, row, column] = showers.crystals.energy
    return made


def width_in_phi(showers) -> np.ndarray:
    """Second moment along phi of the crystals above 0.3 GeV, in crystals."""
    profile = np.where(images(showers) > 0.3, images(showers), 0).sum(axis=1)
    profile /= profile.sum(axis=1, keepdims=True)
    column = np.arange(crops.SIDE)
    mean = profile @ column
    return np.sqrt((profile * (column - mean[:, None]) ** 2).sum(axis=1))


def test_the_same_task_gives_the_same_showers_bit_for_bit():
    task = job(ELECTRON, seed=8, events=60, digis=True)
    first, second = guns.produce(task), guns.produce(pickle.loads(pickle.dumps(task)))
    other = guns.produce(dataclasses.replace(task, seed=9))
    for name in ("crystals", "digis"):
        for column, values in getattr(first, name).columns.items():
            np.testing.assert_array_equal(values, getattr(second, name).columns[column])
    assert not np.array_equal(first.particles, other.particles)


def test_showers_are_records(photons, electrons, pairs):
    photons.validate(view="crop")
    electrons.validate(view="crop")
    pairs.validate(view="barrel")
    assert len(photons) == len(electrons) == EVENTS
    np.testing.assert_array_equal(photons.event, np.arange(1, EVENTS + 1))
    assert not photons.digis.counts.any()
    np.testing.assert_array_equal(electrons.digis.cell, electrons.crystals.cell)


def test_particles_are_as_the_task_says(photons, pairs):
    pt, eta, phi = photons.particles[:, 0].T
    np.testing.assert_allclose(pt, 50, rtol=1e-5)
    assert abs(eta).max() < 1.4
    assert abs(eta.mean()) < 0.15
    assert eta.std() == pytest.approx(1.4 / 3**0.5, rel=0.1)
    assert phi.std() == pytest.approx(np.pi / 3**0.5, rel=0.1)
    assert not photons.particles[:, 1].any()
    pt = pairs.particles[:, :, 0]
    assert pt.min() >= 20
    assert pt.max() <= 100
    assert (pt[:, 0] >= pt[:, 1]).all()
    assert abs(np.corrcoef(*pairs.particles[:, :, 1].T)[0, 1]) < 0.3


def test_electrons_have_both_charges_and_pairs_one_of_each():
    rng = np.random.default_rng(1)
    single = guns.shoot(gun(LABELS[ELECTRON]), 400, rng)
    assert abs(single.charge.mean()) < 0.2
    assert set(single.charge) == {-1, 1}
    np.testing.assert_array_equal(single.pdg, -11 * single.charge)
    pair = guns.shoot(gun(LABELS[ELECTRON], kind="pair", view="barrel"), 50, rng)
    assert not pair.charge.reshape(50, 2).sum(axis=1).any()
    assert not guns.shoot(gun(LABELS[PHOTON]), 5, rng).charge.any()


def test_the_energy_is_that_of_the_particle(photons, electrons):
    """Equal up to effects of window, noise and rear leakage; the fit of the samples changes nothing."""
    for showers in (photons, electrons):
        true = showers.particles[:, 0, 0] * np.cosh(showers.particles[:, 0, 1])
        found = images(showers).sum(axis=(1, 2))
        assert np.median(found / true) == pytest.approx(1.0, abs=0.015)


def test_deposits_hold_the_energy_that_reaches_the_barrel():
    rng = np.random.default_rng(2)
    particles = guns.shoot(gun(LABELS[PHOTON], max_eta=0.9), 50, rng)
    energy, moment = guns.deposit(particles, np.full(50, 3.0), 50, rng)
    np.testing.assert_allclose(np.median(energy.sum(axis=1) / particles.energy), 1, atol=0.02)
    # Late by the collision's 3 ns, except for effects of the vertex and the depth of the shower.
    assert np.median(moment.sum(axis=1) / energy.sum(axis=1)) == pytest.approx(3.0, abs=0.1)


@pytest.mark.slow
def test_light_from_deep_in_the_crystals_comes_early():
    """Photons shower a radiation length deeper than electrons: 1.1 cm, at (n - 1) / c."""
    late = []
    for label in (PHOTON, ELECTRON):
        rng = np.random.default_rng(4)
        particles = guns.shoot(gun(LABELS[label], max_eta=0.4), 400, rng)
        energy, moment = guns.deposit(particles, np.zeros(400), 400, rng)
        late.append(moment.sum() / energy.sum())
    assert 0.01 < late[ELECTRON] - late[PHOTON] < 0.06


def test_the_highest_crystal_is_where_crops_have_it(photons):
    image = images(photons)
    row, column = np.divmod(image.reshape(len(image), -1).argmax(axis=1), crops.SIDE)
    inside = abs(photons.particles[:, 0, 1]) < 1.15
    assert (row[inside] == crops.SEED).all()
    assert (column == crops.SEED).all()


def test_a_crop_is_what_the_barrel_shows_there():
    """Number and energy of hits are the same if the whole barrel or only a window is read out."""
    crop = guns.produce(job(PHOTON, seed=21, events=150))
    whole = crops.crop(guns.produce(job(PHOTON, seed=22, events=150, view="barrel")))
    for some in (crop, whole):
        some.validate(view="crop")
    assert crop.crystals.counts.mean() == pytest.approx(whole.crystals.counts.mean(), rel=0.06)
    # Fainter hits come in whole towers, whose number fluctuates.
    edge = [(images(some)[:, :, :6] > 0.1).sum() for some in (crop, whole)]
    assert edge[0] == pytest.approx(edge[1], rel=0.2)


def test_windows_surround_crops_wrap_in_phi_and_stay_in_the_barrel():
    seeds = np.array(
        [geometry.eb_cell(1, 1), geometry.eb_cell(85, 360), geometry.eb_cell(-84, 180)], np.int64
    )
    windows = guns._windows(seeds)
    first_row, first_column = crops.window(seeds)
    for window, row, column in zip(windows, first_row, first_column):
        rows = window // geometry.EB_COLUMNS
        assert len(set(window)) == guns.WINDOW**2
        assert rows.min() >= 0
        assert rows.max() < geometry.EB_ROWS
        wanted = (row + np.arange(crops.SIDE))[:, None] * geometry.EB_COLUMNS
        wanted = wanted + (column + np.arange(crops.SIDE)) % geometry.EB_COLUMNS
        assert set(wanted.ravel()) <= set(window)


def test_the_field_spreads_electrons_in_phi(photons, electrons, monkeypatch):
    """Bremsstrahlung flies straight while the electron bends; without material nothing is radiated."""
    broad = [(width_in_phi(showers) > 1.2).mean() for showers in (photons, electrons)]
    monkeypatch.setattr("e2e_jax.sources.simulation.material.MATERIAL_X0", (1e-6,) * 15)
    bare = [width_in_phi(shot(label)) for label in (PHOTON, ELECTRON)]
    assert np.median(width_in_phi(electrons)) > np.median(bare[ELECTRON])
    assert min(broad) > 0.05 > max((width > 1.2).mean() for width in bare)


def test_pairs_are_two_separate_showers(pairs):
    row, column = np.divmod(pairs.crystals.cell.astype(int), geometry.EB_COLUMNS)
    lit = np.zeros((len(pairs), *crops.SHAPES["barrel"]))
    lit[pairs.crystals.event_index, row, column] = pairs.crystals.energy
    near_both = 0
    for image, generated in zip(lit, pairs.particles):
        total = image[image > 0.3].sum()
        found = 0
        for pt, eta, phi in generated:
            cell = geometry.barrel_cell(np.array([eta]), np.array([phi]))[0]
            rows = slice(max(cell // 360 - 10, 0), cell // 360 + 11)
            columns = (cell % 360 + np.arange(-12, 13)) % 360
            found += image[rows][:, columns].sum() > 0.7 * pt * np.cosh(eta)
        near_both += found == 2
        assert total == pytest.approx((generated[:, 0] * np.cosh(generated[:, 1])).sum(), rel=0.2)
    assert near_both > 0.9 * len(pairs)


def test_the_time_of_a_shower_is_the_collision_s(electrons):
    """The spread of its brightest crystal's time is that of collisions, vertices and synchronization."""
    first = electrons.crystals.offsets[:-1]
    highest = np.maximum.reduceat(electrons.crystals.energy, first)[electrons.crystals.event_index]
    time = electrons.crystals.time[electrons.crystals.energy == highest]
    assert abs(np.median(time)) < 0.15
    assert 0.15 < time.std() < 0.35


def test_pileup_adds_hits():
    """A pool of one collision with 40 crystals of 2 GeV each; ten collisions per shot on average."""
    cells = (np.arange(40, dtype=np.uint16) * 1507) % geometry.EB_CELLS
    hits = {"cell": cells.astype(np.uint16), "energy": np.full(40, 2, np.float32)}
    none = Ragged.from_counts(np.zeros(1, np.int64), {})
    tracks = Ragged.from_counts(np.zeros(1, np.int64), {"pt": np.zeros(0)})
    hits = Ragged.from_counts(np.array([40]), hits)
    pool = pileup.Pool(hits, none, tracks, vertex_z=np.zeros(1), sum_pt2=np.zeros(1))
    energies = []
    for mean in (0.0, 10.0):
        made = guns.produce(job(PHOTON, 1, 50, view="barrel", pileup=mean), pool)
        energies.append((made.crystals.energy[made.crystals.energy > 1]).sum() / len(made))
    assert energies[1] - energies[0] == pytest.approx(10 * 40 * 2, rel=0.2)


def test_tasks_share_neither_seeds_nor_events():
    tasks = [*gun_tasks("train"), *gun_tasks("validation")]
    assert len({task.seed for task in tasks}) == len(tasks) == len({task.lumi for task in tasks})
    assert len({task.fingerprint("1") for task in tasks}) == len(tasks)
    for label in (PHOTON, ELECTRON):
        assert sum(task.events for task in gun_tasks("train") if task.label == label) == 5001


def gun_tasks(split):
    return simulation_jobs(STUDIES["crops"], 5001, split, seed=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "triple"}, "kind = 'triple': there are 'single', 'pair'"),
        ({"view": "endcap"}, "view = 'endcap': there are"),
        ({"kind": "pair"}, "take view 'barrel'"),
        ({"pt": (100, 20)}, "in order"),
        ({"pt": (0.1, 20)}, "from 1 on"),
        ({"pt": (20, np.nan)}, "in GeV"),
        ({"max_eta": 1.6}, "the barrel ends"),
        ({"pileup": -1.0}, "0 or more"),
        ({"particle": "muon"}, "particle = 'muon': there are 'photon', 'electron'"),
    ],
)
def test_what_a_gun_cannot_shoot_is_said(options, says):
    with pytest.raises(ValueError, match=says):
        gun(**{"particle": "photon", **options})


def test_an_unknown_split_is_said():
    with pytest.raises(ValueError, match="No split 'tests'"):
        simulation_jobs(STUDIES["crops"], 10, "tests")


def test_the_photons_of_a_decay_have_the_mass_and_pt_of_what_decayed():
    source = decay(mass=(0.2, 1.0), pt=(30, 90))
    photons = guns.decays(source, 4000, np.random.default_rng(0))
    momentum = photons.momentum.reshape(-1, 2, 3)
    np.testing.assert_allclose(photons.energy, np.linalg.norm(photons.momentum, axis=1))
    total, energy = momentum.sum(axis=1), photons.energy.reshape(-1, 2).sum(axis=1)
    mass = np.sqrt(energy**2 - np.sum(total**2, axis=1))
    pt = np.hypot(total[:, 0], total[:, 1])
    for values, (low, high) in ((mass, (0.2, 1.0)), (pt, (30, 90))):
        assert low - 1e-6 < values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() < high + 1e-6
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.03)
    # Isotropic at rest, so a photon's share of the energy has a flat distribution.
    share = photons.energy.reshape(-1, 2)[:, 0] / energy
    assert np.std(share) == pytest.approx(1 / np.sqrt(12), rel=0.03)
    massless = guns.decays(decay(mass=(0, 0)), 50, np.random.default_rng(1)).momentum.reshape(-1, 2, 3)
    np.testing.assert_allclose(np.cross(massless[:, 0], massless[:, 1]), 0, atol=1e-9)


def test_decays_are_showers_with_the_observables_of_their_study():
    study = STUDIES["decays"]
    assert [observable.name for observable in study.task.observables] == ["mass_a", "pt_a"]
    made = guns.produce(simulation_jobs(study, 60)[0])
    assert set(made.observables) == {"mass_a", "pt_a"}
    assert (made.particles[:, :, 0] > 0).all()
    np.testing.assert_allclose(made.particles[:, :, 0].sum(axis=1), made.pt_a, rtol=0.05)
    made.validate(1, view="crop")


@pytest.mark.parametrize(
    "options", [{"mass": (1.0, 0.5)}, {"mass": (-1.0, 1.0)}, {"mass": (1, 2), "kind": "pair"}]
)
def test_a_decay_that_cannot_be_is_refused(options):
    with pytest.raises(StudyError, match="cannot shoot with"):
        decay(**{"view": "barrel", **options})
