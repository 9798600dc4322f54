"""The shape of a shower in the 5x5 crystals around its seed, as CMS defines it."""

from __future__ import annotations

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.events.base import Ragged


def seed_windows(hits: Ragged, event: np.ndarray, seed_cell: np.ndarray) -> np.ndarray:
    """Energies `[m, 5, 5]` in the 5x5 crystals around seeds, zero for crystals without a hit.

    Args:
      hits: ECAL barrel hits in the order of the cells.
      event, seed_cell: `[m]`, the event and the crystal of each seed.
    """
    row, column = np.divmod(np.asarray(seed_cell, np.int64), geometry.EB_COLUMNS)
    rows = (row[:, None] + np.arange(-2, 3))[:, :, None]
    columns = ((column[:, None] + np.arange(-2, 3)) % geometry.EB_COLUMNS)[:, None, :]
    first = np.asarray(event, np.int64)[:, None, None] * geometry.EB_CELLS
    wanted = first + rows * geometry.EB_COLUMNS + columns
    return _energies(hits, geometry.EB_CELLS, wanted, (rows >= 0) & (rows < geometry.EB_ROWS))


def shower_shapes(window: np.ndarray) -> dict[str, np.ndarray]:
    """Shapes of showers in the 5x5 crystals around their seeds, as CMS defines them.

    The widths are second moments with weights max(0, 4.7 + ln E_i/E5x5) about the energy-weighted mean, in
    units of crystals times 0.01745 (CMSSW, `EcalClusterTools::localCovariances`).

    Args:
      window: `[m, 5, 5]` energies in GeV, eta first; see `seed_windows`.

    Returns:
      `e3x3`, `e5x5`, `sigma_ieta_ieta`, `sigma_iphi_iphi`, `seed_fraction` (E1/E5x5), each `[m]`.
    """
    e5x5 = window.sum(axis=(1, 2))
    weight = log_weights(window, e5x5, geometry.SHAPE_WEIGHT)
    shapes = {
        "e3x3": window[:, 1:4, 1:4].sum(axis=(1, 2)),
        "e5x5": e5x5,
        "seed_fraction": window[:, 2, 2] / e5x5,
    }
    step = np.arange(-2, 3)
    for name, other in (("sigma_ieta_ieta", 2), ("sigma_iphi_iphi", 1)):
        mean = window.sum(axis=other) @ step / e5x5
        moment = (weight.sum(axis=other) * (step - mean[:, None]) ** 2).sum(axis=1)
        shapes[name] = geometry.EB_CRYSTAL_SIZE * np.sqrt(moment / weight.sum(axis=(1, 2)))
    return shapes


def log_weights(window: np.ndarray, total: np.ndarray, offset: float) -> np.ndarray:
    """max(0, offset + ln E_i/E) of each crystal `[m, 5, 5]`."""
    fraction = window / np.maximum(total, 1e-6)[:, None, None]
    return np.maximum(0, offset + np.log(np.maximum(fraction, 1e-9)))


def endcap_windows(hits: Ragged, event: np.ndarray, seed_cell: np.ndarray) -> np.ndarray:
    """Energies `[m, 5, 5]` (y first) in the 5x5 endcap crystals around seeds, zero without a hit.

    Args:
      hits: ECAL endcap hits in the order of the cells.
      event, seed_cell: `[m]`, the event and the crystal of each seed.
    """
    side, crystal = np.divmod(np.asarray(seed_cell, np.int64), geometry.EE_SIDE**2)
    row, column = np.divmod(crystal, geometry.EE_SIDE)
    step = np.arange(-2, 3)
    rows, columns = row[:, None, None] + step[:, None], column[:, None, None] + step
    first = np.asarray(event, np.int64) * geometry.EE_CELLS + side * geometry.EE_SIDE**2
    wanted = first[:, None, None] + rows * geometry.EE_SIDE + columns
    inside = (rows >= 0) & (rows < geometry.EE_SIDE) & (columns >= 0) & (columns < geometry.EE_SIDE)
    return _energies(hits, geometry.EE_CELLS, wanted, inside)


def _energies(hits: Ragged, cells: int, wanted: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Energies at `wanted` = event * cells + cell, zero without a hit or if not `inside`."""
    keys = hits.event_index * cells + hits.cell
    if not len(keys):
        return np.zeros(wanted.shape, np.float32)
    entry = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[entry] == wanted) & inside, hits.energy[entry], 0).astype(np.float32)


def endcap_shapes(window: np.ndarray, seed_cell: np.ndarray) -> dict[str, np.ndarray]:
    """Shapes as in `shower_shapes`, for the endcaps, where eta is the direction away from the beam.

    Distances are in crystals on the grid of ix and iy, counted from the beam, times 0.0447; along phi
    they are the length of the arc (CMSSW, `EcalClusterTools::localCovariances`).

    Args:
      window: `[m, 5, 5]` energies in GeV; see `endcap_windows`.
      seed_cell: `[m]`, the crystals at the centers of the windows.

    Returns:
      As `shower_shapes`.
    """
    crystal = np.asarray(seed_cell, np.int64) % geometry.EE_SIDE**2
    row, column = np.divmod(crystal, geometry.EE_SIDE)
    step = np.arange(-2, 3)
    middle = (geometry.EE_SIDE - 1) / 2
    y, x = (row - middle)[:, None, None] + step[:, None], (column - middle)[:, None, None] + step
    radius = np.hypot(x, y)
    e5x5 = window.sum(axis=(1, 2))
    positive = np.maximum(window, 0)
    share = positive / np.maximum(positive.sum(axis=(1, 2)), 1e-6)[:, None, None]
    mean_x, mean_y, mean_radius = ((share * place).sum(axis=(1, 2)) for place in (x, y, radius))
    around = radius * geometry.delta_phi(np.arctan2(y, x), np.arctan2(mean_y, mean_x)[:, None, None])
    weight = log_weights(window, e5x5, geometry.SHAPE_WEIGHT)
    total = weight.sum(axis=(1, 2))
    shapes = {
        "e3x3": window[:, 1:4, 1:4].sum(axis=(1, 2)),
        "e5x5": e5x5,
        "seed_fraction": window[:, 2, 2] / e5x5,
    }
    for name, distance in (
        ("sigma_ieta_ieta", radius - mean_radius[:, None, None]),
        ("sigma_iphi_iphi", around),
    ):
        shapes[name] = geometry.EE_CRYSTAL_SIZE * np.sqrt((weight * distance**2).sum(axis=(1, 2)) / total)
    return shapes
