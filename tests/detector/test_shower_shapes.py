"""Shower shapes follow the hits as CMS defines them, wherever in the detector the shower is."""

import dataclasses

import jax
import numpy as np
import pytest

from e2e_jax.detector import geometry
from e2e_jax.detector.shower_shapes import NAMES, shower_shapes
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import COLLECTIONS, Events, from_leading, leading
from e2e_jax.sources.simulation import shapes as fastsim_shapes

ISOLATION = [NAMES.index(f"{name}_isolation") for name in ("ecal", "hcal", "track")]
CRYSTALS = geometry.ee_crystals()


def events(photons, eb=(), ee=(), hcal=(), tracks=()):
    """One event of photons (pt, eta, phi), hits (cell, energy) and tracks (pt, eta, phi)."""
    photons = np.array([*photons, *[(0, 0, 0)] * (2 - len(photons))], np.float32)[None]
    lists = {}
    for (name, columns), rows in zip(COLLECTIONS.items(), (eb, ee, hcal, tracks)):
        values = list(zip(*rows)) or [()] * len(columns)
        flat = {column: np.array(v, columns[column]) for column, v in zip(columns, values)}
        lists[name] = Ragged.from_counts(np.array([len(rows)]), flat)
    one = np.ones(1, np.int64)
    scalars = {"run": one, "lumi": one, "event": one, "label": one.astype(np.int32)}
    mass = {"mass": np.full(1, 125, np.float32)}
    return Events(**scalars, observables=mass, photons=from_leading(photons), **lists)


def shapes_of(*args, **kwargs):
    """{name: value} of the first photon."""
    return dict(zip(NAMES, shower_shapes(events(*args, **kwargs))[0, 0]))


def barrel_shower(ieta, iphi, seed=0):
    """A photon, and hits on the 5x5 crystals around the one it points to, which has most of the energy."""
    rng = np.random.default_rng(seed)
    rows, columns = (step.ravel() for step in np.mgrid[-2:3, -2:3])
    energy = rng.exponential(2, 25) * np.exp(-(abs(rows) + abs(columns)))
    energy[12] = 30
    row = ieta + 85 - (ieta > 0) + rows
    cell = row * geometry.EB_COLUMNS + (iphi - 1 + columns) % geometry.EB_COLUMNS
    photon = (40, geometry.eb_eta_centres()[row[12]], geometry.eb_phi_centres()[iphi - 1])
    return photon, list(zip(cell, energy))


def endcap_shower(ix, iy, zside, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = (step.ravel() for step in np.mgrid[-2:3, -2:3])
    energy = rng.exponential(2, 25) * np.exp(-(abs(rows) + abs(columns)))
    energy[12] = 30
    cells = geometry.ee_cell(ix + columns, iy + rows, np.full(25, zside))
    place = np.searchsorted(CRYSTALS.cell, cells[12])
    return (20, CRYSTALS.eta[place], CRYSTALS.phi[place]), list(zip(cells, energy))


def surroundings(ieta=11, iphi=91):
    """Towers and tracks around a barrel crystal, some in each zone of the cones."""
    eta, phi = geometry.eb_eta_centres()[84 + ieta], geometry.eb_phi_centres()[iphi - 1]
    tracks = [(1.5, eta + d, phi + d / 2) for d in (0.01, 0.05, 0.1, 0.2, 0.28)]
    rings, towers = np.mgrid[1:7, -3:4].reshape(2, -1)
    tower = (iphi - 1) // 5 - 1
    cells = geometry.hcal_cell(rings, (tower + towers - 1) % 72 + 1, np.ones(len(rings), int))
    return [(cell, 0.5 + 0.2 * i) for i, cell in enumerate(cells)], tracks


def lone_hits(photon):
    """Barrel hits in the cone, in the supercluster's window next to the 5x5, and outside of both."""
    seed = int(geometry.barrel_cell(photon[1], photon[2]))
    return [(seed + 8 * 360 + 3, 1.5), (seed - 6 * 360 - 9, 0.7), (seed + 10, 0.6), (seed + 25 * 360, 3.0)]


def turned(sample, crystals):
    """The same event turned about the beam by whole crystals, a multiple of 5 where there are towers."""
    eb, ee, hcal, tracks = sample.eb, sample.ee, sample.hcal, sample.tracks
    row, column = np.divmod(eb.cell.astype(int), 360)
    eb = Ragged(eb.offsets, {**eb.columns, "cell": (row * 360 + (column + crystals) % 360).astype(np.uint16)})
    first, column = np.divmod(hcal.cell.astype(int), 72)
    cell = (first * 72 + (column + crystals // 5) % 72).astype(np.uint16)
    hcal = Ragged(hcal.offsets, {**hcal.columns, "cell": cell})
    angle = np.deg2rad(crystals)
    tracks = Ragged(tracks.offsets, {**tracks.columns, "phi": wrapped(tracks.phi + angle)})
    photons = leading(sample.photons)
    photons[:, :, 2] = wrapped(photons[:, :, 2] + angle)
    return dataclasses.replace(sample, eb=eb, ee=ee, hcal=hcal, tracks=tracks, photons=from_leading(photons))


def wrapped(phi):
    return ((phi + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("crystals", [5, 90, 270, 275, 355])
def test_a_turn_about_the_beam_changes_nothing(crystals):
    photon, hits = barrel_shower(11, 91)
    hcal, tracks = surroundings()
    sample = events([photon], [*hits, *lone_hits(photon)], hcal=hcal, tracks=tracks)
    before = shower_shapes(sample)
    assert (before[0, 0, ISOLATION] > 0).all()
    np.testing.assert_allclose(shower_shapes(turned(sample, crystals)), before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ieta", [1, 2, 40, -1, -85, 84])
def test_the_mirror_image_has_the_same_shapes(ieta):
    # At the detector's ends a part of the 5x5 is missing.
    photon, hits = barrel_shower(ieta, 20)
    hits = [(cell, energy) for cell, energy in hits if 0 <= cell < geometry.EB_CELLS]
    mirrored = [((169 - cell // 360) * 360 + cell % 360, energy) for cell, energy in hits]
    before, after = shapes_of([photon], hits), shapes_of([(photon[0], -photon[1], photon[2])], mirrored)
    assert before["cov_ieta_iphi"] == pytest.approx(-after.pop("cov_ieta_iphi"), rel=1e-3)
    assert after == pytest.approx({name: before[name] for name in after}, rel=1e-4)


def test_the_ends_in_z_are_mirror_images_of_each_other():
    plus, minus = endcap_shower(70, 35, 1), endcap_shower(70, 35, -1)
    before, after = shapes_of([plus[0]], ee=plus[1]), shapes_of([minus[0]], ee=minus[1])
    assert before["sigma_iphi_iphi"] > 0
    assert minus[0][1] == -plus[0][1]
    assert after == pytest.approx(before, rel=1e-4)


def test_barrel_widths_are_those_of_the_simulations_clustering():
    photon, hits = barrel_shower(-1, 360)
    window = np.array([energy for _, energy in hits]).reshape(1, 5, 5)
    assert_agrees(shapes_of([photon], hits), fastsim_shapes.shower_shapes(window))


@pytest.mark.parametrize(("ix", "iy", "zside"), [(80, 30, 1), (20, 60, -1)])
def test_endcap_widths_are_those_of_the_simulations_clustering(ix, iy, zside):
    photon, hits = endcap_shower(ix, iy, zside)
    window = np.array([energy for _, energy in hits]).reshape(1, 5, 5)
    # CMSSW counts crystals from 1 off the middle, the simulation from 1/2: a little turn of the axes.
    seed = np.array([hits[12][0]])
    assert_agrees(shapes_of([photon], ee=hits), fastsim_shapes.endcap_shapes(window, seed), rel=0.02)


def assert_agrees(found, expected, rel=1e-4):
    for name in ("sigma_ieta_ieta", "sigma_iphi_iphi"):
        assert found[name] == pytest.approx(expected[name][0], rel=rel)
    assert found["e1_over_e25"] == pytest.approx(expected["seed_fraction"][0], rel=1e-5)
    # All of the supercluster is in the 5x5 here.
    assert found["r9"] == pytest.approx(expected["e3x3"][0] / expected["e5x5"][0], rel=1e-5)


@pytest.mark.parametrize("part", ["eb", "ee"])
def test_the_covariance_is_bounded_by_the_widths_and_has_a_sign(part):
    rising, falling = (
        shapes_of([photon], **{part: hits}) for photon, hits in (diagonal(part, slope) for slope in (1, -1))
    )
    for found in (rising, falling):
        bound = found["sigma_ieta_ieta"] * found["sigma_iphi_iphi"]
        assert 0.5 * bound < abs(found["cov_ieta_iphi"]) <= bound * 1.0001
    assert rising["cov_ieta_iphi"] * falling["cov_ieta_iphi"] < 0


def diagonal(part, slope):
    """Three crystals in a line, the middle one the seed."""
    steps = np.array([-1, 0, 1])
    if part == "eb":
        photon, _ = barrel_shower(30, 200)
        return photon, list(zip(geometry.eb_cell(30 + steps, 200 + slope * steps), (5, 20, 5)))
    photon, _ = endcap_shower(80, 50, 1)
    return photon, list(zip(geometry.ee_cell(80 + steps, 50 + slope * steps, [1, 1, 1]), (5, 20, 5)))


@pytest.mark.parametrize("part", ["eb", "ee"])
def test_a_shower_of_one_crystal_has_no_width(part):
    photon, hits = barrel_shower(5, 300) if part == "eb" else endcap_shower(30, 30, -1)
    found = shapes_of([photon], **{part: [hits[12]]})
    expected = dict.fromkeys(NAMES, 0.0) | {"r9": 1.0, "e1_over_e25": 1.0}
    assert found == pytest.approx(expected, abs=1e-6)


def test_ratios_do_not_grow_with_the_energy_and_sums_do():
    photon, hits = barrel_shower(11, 91)
    sums = surroundings()
    # Above all thresholds from the start.
    near = [(cell, 1.0 + energy) for cell, energy in sums[0]]
    hits = [*hits, *lone_hits(photon)]
    before = shapes_of([photon], hits, hcal=near, tracks=sums[1])
    scaled = ([(cell, 3 * energy) for cell, energy in rows] for rows in (hits, near))
    eb, hcal = scaled
    tracks = [(3 * pt, eta, phi) for pt, eta, phi in sums[1]]
    after = shapes_of([(3 * photon[0], *photon[1:])], eb, hcal=hcal, tracks=tracks)
    for i, name in enumerate(NAMES):
        assert before[name] != 0
        assert after[name] == pytest.approx((3 if i in ISOLATION else 1) * before[name], rel=1e-4)


def test_hits_outside_of_the_supercluster_are_isolation_and_those_outside_of_the_cone_are_nothing():
    photon, hits = barrel_shower(11, 91)
    alone = shapes_of([photon], hits)
    cell = hits[12][0]
    near, far = cell + 8 * 360 + 3, cell + 30 * 360
    beside = shapes_of([photon], [*hits, (near, 5.0)], tracks=[(2, photon[1] + 0.1, photon[2] + 0.1)])
    et = 5 / np.cosh(geometry.eb_eta_centres()[near // 360])
    assert beside.pop("ecal_isolation") - alone["ecal_isolation"] == pytest.approx(et, rel=1e-4)
    assert beside.pop("track_isolation") == pytest.approx(2)
    assert beside == pytest.approx({name: alone[name] for name in beside}, rel=1e-5)
    away = [(2, photon[1] + 0.3, photon[2] + 0.1), (2, photon[1], photon[2] + 0.2)]
    assert shapes_of([photon], [*hits, (far, 5.0)], tracks=away) == pytest.approx(alone, rel=1e-5)


def test_the_hcal_behind_is_h_over_e_and_around_it_isolation():
    photon, hits = barrel_shower(11, 91)
    total = sum(energy for _, energy in hits)
    behind, around = (
        geometry.hcal_tower(photon[1], photon[2]),
        geometry.hcal_tower(photon[1] + 0.2, photon[2]),
    )
    hcal = [(geometry.hcal_cell(*place, 1), energy) for place, energy in ((behind, 4.0), (around, 3.0))]
    found = shapes_of([photon], hits, hcal=[*hcal, (hcal[0][0] + 1, 0.6)])  # the last is below the threshold
    assert found["h_over_e"] == pytest.approx(4 / total, rel=1e-5)
    centre = (geometry.HCAL_ETA_EDGES[int(around[0]) - 1] + geometry.HCAL_ETA_EDGES[int(around[0])]) / 2
    assert found["hcal_isolation"] == pytest.approx(3 / np.cosh(centre), rel=1e-5)


def test_noise_of_either_sign_counts_in_the_5x5_and_only_energy_in_the_widths():
    photon, hits = barrel_shower(-30, 50)
    clean = [hits[12], (hits[12][0] + 1, 10.0)]
    found = shapes_of([photon], [*clean, (hits[12][0] - 1, -4.0)])
    assert found["e1_over_e25"] == pytest.approx(30 / 36, rel=1e-5)
    expected = shapes_of([photon], clean)
    assert found["sigma_ieta_ieta"] == 0
    assert found["sigma_iphi_iphi"] == pytest.approx(expected["sigma_iphi_iphi"], rel=0.05)


@pytest.mark.slow
def test_both_photons_have_their_own_shapes_in_any_batch_and_padding():
    first, second = barrel_shower(11, 91), endcap_shower(30, 30, -1)
    both = events([first[0], second[0]], first[1], second[1])
    found = shower_shapes(both)[0]
    np.testing.assert_allclose(found[0], list(shapes_of([first[0]], first[1]).values()), rtol=1e-5)
    np.testing.assert_allclose(found[1], list(shapes_of([second[0]], ee=second[1]).values()), rtol=1e-5)
    many = Events.concatenate([both] * 300)
    np.testing.assert_allclose(shower_shapes(many), np.stack([found] * 300), rtol=1e-5, atol=1e-7)
    padded = both.to_batch({"eb": 100, "ee": 70, "hcal": 3, "tracks": 9})
    np.testing.assert_allclose(jax.jit(shower_shapes)(padded)[0], found, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("eta", [0.0, 1.48, 2.99, -5.0, 12.0])
def test_photons_without_hits_or_outside_of_the_detector_are_zeros(eta):
    found = shower_shapes(events([(30, eta, 3.0), (30, -eta, -3.1)]))
    assert found.shape == (1, 2, len(NAMES))
    assert not found.any()


def test_a_missing_photon_has_zeros_whatever_is_there():
    photon, hits = barrel_shower(1, 10)
    assert not shower_shapes(events([(0, *photon[1:])], hits)).any()


def test_no_events_have_no_shapes():
    assert shower_shapes(events([(30, 0, 0)])[:0]).shape == (0, 2, len(NAMES))


def test_a_batch_that_lacks_something_is_named():
    batch = events([(30, 0, 0)]).to_batch()
    with pytest.raises(ValueError, match="no 'photons'"):
        shower_shapes({name: batch[name] for name in COLLECTIONS})
    with pytest.raises(ValueError, match="no 'hcal' with cell, energy"):
        shower_shapes({name: batch[name] for name in batch if name != "hcal"})
