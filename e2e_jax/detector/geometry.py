"""The cells of the CMS calorimeters: how they are numbered and where they are."""

EB_ROWS, EB_COLUMNS = 170, 360
"""ECAL barrel: row = ieta - 1 + 85 for ieta > 0, ieta + 85 for ieta < 0; column = iphi - 1."""
EB_CELLS = EB_ROWS * EB_COLUMNS
"""cell = row * 360 + column."""

EE_SIDE = 100
EE_CELLS = 2 * EE_SIDE * EE_SIDE
"""ECAL endcaps: cell = side * 10000 + (iy - 1) * 100 + (ix - 1), side 0 is EE-, 1 is EE+."""

HCAL_ROWS, HCAL_COLUMNS = 58, 72
"""HCAL barrel and endcap: row = ieta + 29 for ieta < 0, ieta + 28 for ieta > 0; column = iphi - 1."""
HCAL_TOWERS = HCAL_ROWS * HCAL_COLUMNS
HCAL_DEPTHS = 7
HCAL_CELLS = HCAL_DEPTHS * HCAL_TOWERS
"""cell = (depth - 1) * HCAL_TOWERS + row * 72 + column; `cell % HCAL_TOWERS` is the tower."""
