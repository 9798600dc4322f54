"""Laws of a real CMS file: ten events, read in one call. Skipped if the file is missing."""

import numpy as np
import pytest

from e2e_jax.detector import geometry, images
from e2e_jax.sources.root import aodsim, root_files
from e2e_jax.sources.root.tiers import AODSIM
from tests.aodsim_file import real_file

CALO_POSITION = [f"{AODSIM.photons}caloPosition_.fCoordinates.f{axis}" for axis in "XYZ"]


@pytest.fixture(scope="module")
def events():
    return aodsim.read_events(real_file())


def test_all_entries_come_in_one_call(events):
    """Averages per event, known from other readers: 230 EB, 210 EE and 27 HBHE hits, 220 tracks."""
    assert len(events) == 10
    assert (events.run == 1).all()
    assert len(np.unique(events.event)) == 10
    means = [lists.counts.mean() for lists in (events.eb, events.ee, events.hcal)]
    np.testing.assert_allclose(means, [230, 210, 27], rtol=0.05)
    assert 100 < events.tracks.counts.mean() < 220  # the highPurity ones
    assert abs(events.tracks.eta).max() < 3


def test_every_hit_has_a_cell_that_exists(events):
    assert (events.eb.cell < geometry.EB_CELLS).all()
    assert geometry.ee_exists()[events.ee.cell].all()
    ieta, iphi, depth = geometry.hcal_coordinates(events.hcal.cell)
    np.testing.assert_array_equal(geometry.hcal_cell(ieta, iphi, depth), events.hcal.cell)
    assert depth.max() <= 3


def positive(lists, where=True):
    """Energy of the hits per event."""
    energy = np.where((lists.energy > 0) & where, lists.energy, 0)
    return np.bincount(lists.event_index, energy.astype(np.float64), minlength=len(lists))


@pytest.mark.parametrize("name", ["barrel", "ecal_centric", "hcal_centric"])
def test_images_hold_the_energy_of_the_hits(events, name):
    made = images.make_images(events, name, ("ecal", "hcal"))
    sums = {part: np.asarray(image, np.float64).sum((1, 2)) for part, image in made.items()}
    ecal = sum(value[:, 0] for value in sums.values())
    inner = abs(geometry.hcal_coordinates(events.hcal.cell)[0]) <= 17
    hcal = {"barrel": 25 * positive(events.hcal, inner), "full": 25 * positive(events.hcal)}
    expected = positive(events.eb) + (0 if name == "barrel" else positive(events.ee))
    np.testing.assert_allclose(ecal, expected, rtol=1e-5)
    for part in hcal.keys() & sums.keys():
        np.testing.assert_allclose(sums[part][:, 1], hcal[part], rtol=1e-5)
    if "endcap_plus" in sums:
        found = sums["endcap_plus"][:, 1] + sums["endcap_minus"][:, 1]
        np.testing.assert_allclose(found, positive(events.hcal, ~inner), rtol=1e-5)


def test_showers_are_where_the_photons_are(events):
    """Barycenters of ECAL hits within 0.1 in eta and 0.2 in phi of the shower, `caloPosition_`."""
    names = [*CALO_POSITION, f"{AODSIM.photons}pt_"]
    with root_files.open_tree(real_file(), AODSIM.tree, dict.fromkeys(names, ("float32",))) as tree:
        columns = tree.read(names)
    x, y, z, pt = (columns[name].values.astype(np.float64) for name in names)
    rows = np.repeat(np.arange(10), columns[names[0]].counts)
    hard = np.flatnonzero(pt > 15)
    found = [
        barycentre(events, rows[i], np.arcsinh(z[i] / np.hypot(x[i], y[i])), np.arctan2(y[i], x[i]))
        for i in hard
    ]
    away = abs(np.array(found))
    assert len(away) == 8
    assert away[:, 0].max() < 0.02
    assert away[:, 1].max() < 0.03


def barycentre(events, row, eta, phi):
    """(eta, phi) of the energy near a direction, relative to that direction."""
    crystals = geometry.ee_crystals()
    eb, ee = events.eb.event(row), events.ee.event(row)
    place = np.searchsorted(crystals.cell, ee["cell"])
    deta = np.concatenate([geometry.eb_eta_centres()[eb["cell"] // 360], crystals.eta[place]]) - eta
    dphi = np.concatenate([geometry.eb_phi_centres()[eb["cell"] % 360], crystals.phi[place]]) - phi
    dphi = (dphi + np.pi) % (2 * np.pi) - np.pi
    energy = np.concatenate([eb["energy"], ee["energy"]])
    weight = np.where((abs(deta) < 0.1) & (abs(dphi) < 0.2) & (energy > 0), energy, 0)
    return np.average(deta, weights=weight), np.average(dphi, weights=weight)
