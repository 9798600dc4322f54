import collections

import numpy as np
import pytest
import uproot

from e2e_jax.detector import geometry, images
from e2e_jax.errors import SourceError
from e2e_jax.sources.root import ntuple
from e2e_jax.sources.root.reading import Reading
from e2e_jax.study import photons

N = 5


@pytest.fixture(scope="module")
def content():
    random = np.random.default_rng(5)
    crystals = geometry.ee_exists()[: geometry.EE_CELLS // 2]

    def image(size):
        values = random.exponential(1, (N, size)).astype(np.float32)
        return np.where(random.random((N, size)) < 0.01, values, np.float32(0))

    barrel = {name: image(geometry.EB_CELLS) for name in ("EB_energy", "TracksPt_EB")}
    endcaps = {
        name: image(geometry.EE_CELLS // 2) * crystals
        for name in ("EEm_energy", "EEp_energy", "TracksPt_EEm", "TracksPt_EEp")
    }
    scalars = {name: np.arange(1, N + 1, dtype=np.uint32) for name in ("runId", "lumiId", "eventId")}
    mass = {"m0": random.uniform(90, 150, N).astype(np.float32)}
    return barrel | endcaps | scalars | mass | {"HBHE_energy": image(56 * 72)}


def write(path, content):
    with uproot.recreate(path) as file:
        tree = file.mktree(ntuple.TREE, {name: (v.dtype, v.shape[1:]) for name, v in content.items()})
        tree.extend(content)
    return str(path)


def test_images_of_the_events_are_those_of_the_ntuple(content, tmp_path):
    events = ntuple.read_events(write(tmp_path / "file.root", content), label=1)
    made = images.make_images(events, "ecal_centric")
    barrel = np.asarray(made["barrel"]).reshape(N, -1, 3)
    np.testing.assert_array_equal(barrel[..., 0], content["TracksPt_EB"])
    np.testing.assert_array_equal(barrel[..., 1], content["EB_energy"])
    hcal = content["HBHE_energy"].reshape(N, 56, 72)
    np.testing.assert_array_equal(np.asarray(made["barrel"])[:, ::5, ::5, 2], hcal[:, 11:45])
    for side, name in (("m", "endcap_minus"), ("p", "endcap_plus")):
        endcap = np.asarray(made[name]).reshape(N, -1, 3)
        np.testing.assert_allclose(endcap[..., 0], content[f"TracksPt_EE{side}"], rtol=1e-6)
        np.testing.assert_array_equal(endcap[..., 1], content[f"EE{side}_energy"])
    assert (events.label == 1).all()
    np.testing.assert_array_equal(events.mass, content["m0"])
    assert events.event.tolist() == [1, 2, 3, 4, 5]
    assert not events.photons.counts.any()


def test_wide_towers_are_put_together_where_they_were_cut(tmp_path, content):
    """The authors give each half of a tower with |ieta| > 20 half of its energy, and rotate iphi by two."""
    hits = [(28, 71, 4.0), (-21, 1, 2.0), (20, 72, 3.0), (1, 1, 1.0)]
    image = np.zeros((N, 56, 72), np.float32)
    for ieta, iphi, energy in hits:
        row, column = 28 + (ieta - 1 if ieta > 0 else ieta), (iphi + 1) % 72
        halves = (column, (column + 1) % 72) if abs(ieta) > 20 else (column,)
        for one in halves:
            image[0, row, one] = energy / len(halves)
    path = write(tmp_path / "file.root", content | {"HBHE_energy": image.reshape(N, -1)})
    found = ntuple.read_events(path).hcal.event(0)
    cells = {int(geometry.hcal_cell(ieta, iphi, 1)): energy for ieta, iphi, energy in hits}
    assert dict(zip(found["cell"].tolist(), found["energy"].tolist())) == cells


def test_ntuples_of_the_barrel_alone_lack_the_outer_rings(content, tmp_path):
    inner = content["HBHE_energy"].reshape(N, 56, 72)[:, 11:45].reshape(N, -1)
    less = {name: values for name, values in content.items() if name != "HBHE_energy"}
    events = ntuple.read_events(write(tmp_path / "file.root", less | {"HBHE_energy_EB": inner}))
    ring = abs(geometry.hcal_coordinates(events.hcal.cell)[0])
    assert ring.max() == 17
    np.testing.assert_allclose(
        events.hcal.energy.sum(dtype=np.float64), inner.sum(dtype=np.float64), rtol=1e-6
    )
    with pytest.raises(SourceError, match="HBHE_energy") as raised:
        ntuple.read_events(write(tmp_path / "none.root", less))
    assert raised.value.reason == "missing_branch"


def spoil(content, name, place, value):
    values = content[name].copy()
    values[place] = value
    return content | {name: values}


@pytest.mark.parametrize(
    ("name", "place", "value", "reason"),
    [
        ("EB_energy", (3, 7), np.nan, "not_finite"),
        ("TracksPt_EEp", (3, 5010), 1e8, "out_of_range"),
        ("EEm_energy", (3, 0), 1.0, "bad_id"),
        ("TracksPt_EEm", (3, 5050), 1.0, "bad_id"),
        ("m0", 3, np.inf, "not_finite"),
        ("m0", 3, -1, "out_of_range"),
    ],
)
def test_faults_end_the_reading_or_are_skipped_and_counted(content, tmp_path, name, place, value, reason):
    path = write(tmp_path / "file.root", spoil(content, name, place, value))
    with pytest.raises(SourceError, match="Entry 3") as raised:
        ntuple.read_events(path)
    assert raised.value.reason == reason
    skipped = collections.Counter()
    assert ntuple.read_events(path, reading=Reading("skip", skipped)).event.tolist() == [1, 2, 3, 5]
    assert skipped == {reason: 1}


def test_an_event_twice_is_a_fault(content, tmp_path):
    again = content
    for name in ("runId", "lumiId", "eventId"):
        again = spoil(again, name, 4, 2)
    with pytest.raises(SourceError, match="Entry 4") as raised:
        ntuple.read_events(write(tmp_path / "file.root", again))
    assert raised.value.reason == "duplicate"


def test_images_of_another_size_are_refused(content, tmp_path):
    path = write(tmp_path / "file.root", content | {"EB_energy": content["EB_energy"][:, :100]})
    with pytest.raises(SourceError, match=r"EB_energy .* 100 numbers"):
        ntuple.read_events(path)


def test_there_is_nothing_to_select_by(tmp_path):
    with pytest.raises(ValueError, match="no photons"):
        ntuple.read_events(tmp_path / "file.root", photons())
