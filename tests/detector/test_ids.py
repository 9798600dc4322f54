"""DetIds decode to the cells CMS means, and back; anything else is refused by its hex id."""

import numpy as np
import pytest

from e2e_jax.detector import geometry, ids

BARREL = geometry.eb_coordinates(np.arange(geometry.EB_CELLS))
ENDCAP = geometry.ee_coordinates(geometry.ee_crystals().cell)


def hcal_readouts():
    """(ieta, iphi, depth, subdetector) of every HB and HE readout of 2012."""
    depths = {(ids.HB, ring): (1,) if ring < 15 else (1, 2) for ring in range(1, 17)}
    depths |= {(ids.HE, 16): (3,), (ids.HE, 17): (1,), (ids.HE, 29): (1, 2)}
    depths |= {(ids.HE, ring): (1, 2) if ring < 27 else (1, 2, 3) for ring in range(18, 29)}
    rows = [
        (side * ring, iphi, depth, subdetector)
        for (subdetector, ring), layers in depths.items()
        for depth in layers
        for side in (-1, 1)
        for iphi in range(1, 73, 2 if ring > 20 else 1)
    ]
    return np.array(rows).T


def test_known_ids():
    assert [int(v) for v in ids.decode_eb(0x32000401)] == [-2, 1]
    assert [int(v) for v in ids.decode_hcal(0x42004083)] == [-1, 3, 1, ids.HB]


def test_every_barrel_crystal_survives_the_round_trip():
    made = ids.encode_eb(*BARREL)
    assert len(np.unique(made)) == 61200
    np.testing.assert_array_equal(ids.decode_eb(made), BARREL)
    np.testing.assert_array_equal(ids.eb_cell(made), np.arange(geometry.EB_CELLS))


def test_every_endcap_crystal_survives_the_round_trip():
    made = ids.encode_ee(*ENDCAP)
    assert len(np.unique(made)) == 2 * 7324
    np.testing.assert_array_equal(ids.decode_ee(made), ENDCAP)
    np.testing.assert_array_equal(ids.ee_cell(made), geometry.ee_crystals().cell)


@pytest.mark.parametrize("later", [False, True])
def test_every_hcal_readout_survives_the_round_trip_in_both_formats(later):
    readouts = hcal_readouts()
    made = ids.encode_hcal(*readouts, later=later)
    np.testing.assert_array_equal(ids.decode_hcal(made), readouts)
    assert len(np.unique(ids.hcal_cell(made))) == readouts.shape[1]  # HB16 and HE16 differ in depth


def test_the_two_hcal_formats_may_be_mixed():
    readouts = hcal_readouts()[:, :50]
    made = np.stack([ids.encode_hcal(*readouts), ids.encode_hcal(*readouts, later=True)])
    cells = ids.hcal_cell(made)
    assert cells.shape == (2, 50)
    np.testing.assert_array_equal(cells[0], cells[1])


@pytest.mark.parametrize("cells", [ids.eb_cell, ids.ee_cell, ids.hcal_cell])
def test_no_ids_give_no_cells(cells):
    assert cells([]).shape == (0,)
    assert cells(np.zeros((0,), np.uint32)).dtype == np.uint16


@pytest.mark.parametrize(
    ("decode", "bad", "expected"),
    [
        (ids.decode_eb, ids.encode_ee(50, 1, 1), "expected the ECAL barrel"),
        (ids.decode_ee, ids.encode_eb(1, 1), "expected an ECAL endcap"),
        (ids.decode_hcal, ids.encode_eb(1, 1), "expected the HCAL barrel"),
        (ids.decode_hcal, 0x48000000, "of the HCAL forward"),
        (ids.decode_hcal, 0x46000000, "of the HCAL outer"),
        (ids.decode_eb, 0, "of detector 0"),
        (ids.decode_eb, ids.encode_eb(86, 1), "ieta = 86"),
        (ids.decode_eb, ids.encode_eb(0, 1), "ieta = 0"),
        (ids.decode_eb, ids.encode_eb(1, 361), "iphi = 361"),
        (ids.decode_ee, ids.encode_ee(1, 1, 1), "ix = 1, iy = 1"),
        (ids.decode_ee, ids.encode_ee(50, 50, -1), "zside = -1"),
        (ids.decode_ee, ids.encode_ee(0, 50, 1), "ix = 0"),
        (ids.decode_ee, ids.encode_ee(50, 101, 1), "iy = 101"),
        (ids.decode_hcal, ids.encode_hcal(17, 1, 1, ids.HB), "ieta = 17"),
        (ids.decode_hcal, ids.encode_hcal(15, 1, 1, ids.HE), "ieta = 15"),
        (ids.decode_hcal, ids.encode_hcal(30, 1, 1, ids.HE, later=True), "ieta = 30"),
        (ids.decode_hcal, ids.encode_hcal(21, 2, 1, ids.HE), "odd above"),
        (ids.decode_hcal, ids.encode_hcal(1, 73, 1, ids.HB), "iphi = 73"),
        (ids.decode_hcal, ids.encode_hcal(1, 1, 0, ids.HB), "depth = 0"),
        (ids.decode_hcal, ids.encode_hcal(1, 1, 8, ids.HB, later=True), "depth = 8"),
    ],
)
def test_a_bad_id_is_named_in_hex(decode, bad, expected):
    good = {ids.decode_eb: 0x32000401, ids.decode_ee: ids.encode_ee(50, 1, 1), ids.decode_hcal: 0x42004083}
    for given in (bad, np.array([good[decode], bad], np.uint32)):
        with pytest.raises(ValueError, match=expected) as error:
            decode(given)
        assert f"0x{int(bad):08x}" in str(error.value)


def test_ids_must_be_integers():
    with pytest.raises(TypeError, match="float64"):
        ids.decode_eb([1.0])
