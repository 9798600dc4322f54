"""CMS DetIds: the 32 bits that identify a calorimeter cell in CMS files.

Bits 28-31 hold the detector (3 ECAL, 4 HCAL), bits 25-27 the subdetector, the other bits the position in it;
see EBDetId, EEDetId and HcalDetId in CMSSW's DataFormats. All functions take arrays of any shape.
"""

from __future__ import annotations

import numpy as np

from e2e_jax.detector import geometry

HB, HE = 1, 2
"""HCAL subdetectors."""

_EB, _EE = 3 << 3 | 1, 3 << 3 | 2
_HB, _HE = 4 << 3 | HB, 4 << 3 | HE
_NAMES = {
    _EB: "the ECAL barrel (EB)",
    _EE: "an ECAL endcap (EE)",
    3 << 3 | 3: "the preshower (ES)",
    _HB: "the HCAL barrel (HB)",
    _HE: "an HCAL endcap (HE)",
    4 << 3 | 3: "the HCAL outer (HO)",
    4 << 3 | 4: "the HCAL forward (HF)",
}
_LATER_FORMAT = 0x1000000
"""Set in the HCAL ids of releases after 2012, which give each field more bits."""


def decode_eb(ids) -> tuple[np.ndarray, np.ndarray]:
    """Decodes ECAL barrel ids.

    Args:
      ids: integers of any shape.

    Returns:
      ieta (-85 to 85, not 0) and iphi (1 to 360), int64.

    Raises:
      ValueError: an id is of another detector, or of no existing crystal.
    """
    ids = _of(ids, _EB)
    ieta, iphi = _signed(ids >> 9 & 0x7F, ids & 0x10000), ids & 0x1FF
    ok = (abs(ieta) >= 1) & (abs(ieta) <= 85) & (iphi >= 1) & (iphi <= 360)
    _refuse(ids, ~ok, "an EB crystal has |ieta| 1 to 85 and iphi 1 to 360", ieta=ieta, iphi=iphi)
    return ieta, iphi


def decode_ee(ids) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes ECAL endcap ids.

    Args:
      ids: integers of any shape.

    Returns:
      ix and iy (1 to 100) and zside (-1 or 1), int64.

    Raises:
      ValueError: an id is of another detector, or of no existing crystal.
    """
    ids = _of(ids, _EE)
    ix, iy, zside = ids >> 7 & 0x7F, ids & 0x7F, _signed(1, ids & 0x4000)
    inside = (ix >= 1) & (ix <= 100) & (iy >= 1) & (iy <= 100)
    cell = np.where(inside, (iy - 1) * geometry.EE_SIDE + ix - 1, 0)  # cell 0 holds no crystal
    _refuse(ids, ~geometry.ee_exists()[cell], "no EE crystal has these", ix=ix, iy=iy, zside=zside)
    return ix, iy, zside


def decode_hcal(ids) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Decodes HCAL barrel and endcap ids, of 2011-12 or of later releases.

    Args:
      ids: integers of any shape; the two formats may be mixed.

    Returns:
      ieta (-29 to 29, not 0), iphi (1 to 72), depth (1 to 7), subdetector (`HB` or `HE`), int64.

    Raises:
      ValueError: an id is of another detector, or of no existing readout of HB or HE.
    """
    ids = _of(ids, _HB, _HE)
    later = (ids & _LATER_FORMAT) != 0
    iphi = np.where(later, ids & 0x3FF, ids & 0x7F)
    ring = np.where(later, ids >> 10 & 0x1FF, ids >> 7 & 0x3F)
    ieta = _signed(ring, np.where(later, ids & 0x80000, ids & 0x2000))
    depth = np.where(later, ids >> 20 & 0xF, ids >> 14 & 0x1F)
    subdetector = ids >> 25 & 7
    ok = np.where(subdetector == HB, (ring >= 1) & (ring <= 16), (ring >= 16) & (ring <= 29))
    ok &= (iphi >= 1) & (iphi <= 72) & (depth >= 1) & (depth <= geometry.HCAL_DEPTHS)
    ok &= (ring <= geometry.HCAL_LAST_NARROW) | (iphi % 2 == 1)
    expected = "|ieta| is 1 to 16 in HB, 16 to 29 in HE; iphi 1 to 72, odd above |ieta| 20; depth 1 to 7"
    _refuse(ids, ~ok, expected, subdetector=subdetector, ieta=ieta, iphi=iphi, depth=depth)
    return ieta, iphi, depth, subdetector


def eb_cell(ids) -> np.ndarray:
    """Cells (`geometry.eb_cell`) of ECAL barrel ids, uint16; raises as `decode_eb`."""
    return geometry.eb_cell(*decode_eb(ids))


def ee_cell(ids) -> np.ndarray:
    """Cells (`geometry.ee_cell`) of ECAL endcap ids, uint16; raises as `decode_ee`."""
    return geometry.ee_cell(*decode_ee(ids))


def hcal_cell(ids) -> np.ndarray:
    """Cells (`geometry.hcal_cell`) of HB and HE ids, uint16; raises as `decode_hcal`."""
    return geometry.hcal_cell(*decode_hcal(ids)[:3])


def encode_eb(ieta, iphi) -> np.ndarray:
    """The uint32 id of a barrel crystal, the inverse of `decode_eb`."""
    ieta, iphi = np.asarray(ieta), np.asarray(iphi)
    return (_EB << 25 | (ieta > 0) * 0x10000 | abs(ieta) << 9 | iphi).astype(np.uint32)


def encode_ee(ix, iy, zside) -> np.ndarray:
    """The uint32 id of an endcap crystal, the inverse of `decode_ee`."""
    ix, iy, zside = np.asarray(ix), np.asarray(iy), np.asarray(zside)
    return (_EE << 25 | (zside > 0) * 0x4000 | ix << 7 | iy).astype(np.uint32)


def encode_hcal(ieta, iphi, depth, subdetector, later: bool = False) -> np.ndarray:
    """The uint32 id of an HB or HE readout, the inverse of `decode_hcal`.

    Args:
      ieta, iphi, depth, subdetector: as `decode_hcal` returns them.
      later: write the format of releases after 2012.
    """
    ieta, iphi, depth = np.asarray(ieta), np.asarray(iphi), np.asarray(depth)
    detector = (4 << 3 | np.asarray(subdetector)) << 25
    if later:
        place = _LATER_FORMAT | depth << 20 | (ieta > 0) * 0x80000 | abs(ieta) << 10 | iphi
    else:
        place = depth << 14 | (ieta > 0) * 0x2000 | abs(ieta) << 7 | iphi
    return (detector | place).astype(np.uint32)


def _of(ids, *subdetectors: int) -> np.ndarray:
    """The ids as int64, all of one of the subdetectors (bits 25-31)."""
    ids = np.asarray(ids)
    if ids.size and not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"DetIds are integers, not {ids.dtype}.")
    ids = ids.astype(np.int64)
    wrong = ~np.isin(ids >> 25, subdetectors)
    if wrong.any():
        found = int(ids[wrong].flat[0])
        name = _NAMES.get(found >> 25, f"detector {found >> 28 & 0xF}, subdetector {found >> 25 & 7}")
        expected = " or ".join(f"{_NAMES[code]}, 0x{code << 25:08x} and up" for code in subdetectors)
        raise ValueError(
            f"DetId 0x{found:08x} is of {name}; expected {expected}. "
            f"{int(wrong.sum())} of {ids.size} ids are wrong: is this the right collection?"
        )
    return ids


def _signed(magnitude, positive) -> np.ndarray:
    return np.where(positive != 0, magnitude, -magnitude)


def _refuse(ids: np.ndarray, bad: np.ndarray, expected: str, **fields: np.ndarray) -> None:
    if not bad.any():
        return
    values = ", ".join(f"{name} = {field[bad].flat[0]}" for name, field in fields.items())
    raise ValueError(
        f"DetId 0x{int(ids[bad].flat[0]):08x} decodes to {values}, but {expected}. "
        f"{int(bad.sum())} of {ids.size} ids are out of range."
    )
