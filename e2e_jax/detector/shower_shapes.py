"""Shower shapes and isolation of photons, computed from the hits on the device.

The same function serves every source of events. A dataset stores only hits; shapes are computed in the
training step and in `predict`.

The definitions are those of CMS's photon identification by detector sums (CMS, JINST 10 (2015) P08010,
arXiv:1502.02702, Section 6). In CMSSW they are `EcalClusterTools` for the shapes, and for the isolation
`EgammaRecHitIsolation`, `EgammaTowerIsolation` and `PhotonTkIsolation` with the thresholds and vetoes of
`isolationSumsCalculator`, in the smaller of its two cones (dR = 0.3: half the pile-up of 0.4). Events have no
superclusters, calorimeter towers or track vertices; `NAMES` documents what is used instead.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from e2e_jax.detector import geometry

NAMES = (
    *("sigma_ieta_ieta", "sigma_iphi_iphi", "cov_ieta_iphi", "r9", "e1_over_e25", "h_over_e"),
    *("ecal_isolation", "hcal_isolation", "track_isolation"),
)
"""The shapes of a photon, in this order.

sigma_ieta_ieta, sigma_iphi_iphi: widths of the 5x5 crystals around the seed, the most energetic crystal:
  square roots of the second moments about the energy-weighted mean, with weights max(0, 4.7 + ln E_i/E5x5).
  In the barrel in crystals times 0.01745; in the endcaps in crystals times 0.0447, away from the beam and
  along the arc around it.
cov_ieta_iphi: their mixed moment, in their units squared. In the endcaps, CMSSW's distances along the arc
  have no sign, so its value is not a covariance there; ours have a sign.
r9: E3x3 / E. E is the sum of the hits in the window of a supercluster: in the barrel 5 x 35 crystals in eta
  and phi, the reach of CMS's hybrid algorithm; in the endcaps 0.14 x 0.6 in eta and phi.
e1_over_e25: energy of the seed / E5x5.
h_over_e: HCAL energy in dR < 0.15 / E.
ecal_isolation: GeV, sum of ET of ECAL hits in the cone, without hits within 3.5 crystals and without a strip
  of +-2.5 crystals in eta. Hits count above 0.095 GeV for barrel photons, above 0.11 GeV of ET for endcap
  photons.
hcal_isolation: GeV, sum of ET in 0.15 < dR < 0.3. HCAL hits count above the thresholds of CMS's towers,
  0.7 GeV up to |ieta| 15 and 0.8 GeV above. AODSIM files keep few HCAL hits far from showers, so sums from
  them are smaller than CMS's own.
track_isolation: GeV, sum of pT of tracks in 0.04 < dR < 0.3, without a strip of |d eta| < 0.015 around the
  photon's direction. CMS takes tracks within 2 mm in z of the vertex; here all tracks count, including those
  of pile-up.
"""

SEED_WINDOW = (0.15, 0.1)
"""Largest distance (eta, phi) of a seed from its photon, whose vertex may be 18 cm from the origin."""
BARREL_REACH = 17
ENDCAP_WINDOW = (0.07, 0.3)
"""Half the supercluster's window: crystals along phi, and (eta, phi)."""

CONE = 0.3
ECAL_VETO, ECAL_STRIP = 3.5, 2.5
"""In crystals: of 0.0174 in the barrel, and of 0.00864 |sinh eta| in the endcaps."""
ECAL_ENERGY, ECAL_ET = 0.095, 0.11
HCAL_INNER = 0.15
TRACK_INNER, TRACK_STRIP = 0.04, 0.015
HB_THRESHOLD, HE_THRESHOLD, LAST_HB_RING = 0.7, 0.8, 15

_COLUMNS = {
    "eb": ("cell", "energy"),
    "ee": ("cell", "energy"),
    "hcal": ("cell", "energy"),
    "tracks": ("pt", "eta", "phi"),
}
_ROWS, _LENGTH_STEP = 256, 64


def shower_shapes(events_or_batch) -> jax.Array | np.ndarray:
    """Shower shapes and isolation of both photons of each event.

    Args:
      events_or_batch: `Events`, or the padded batch of `Events.to_batch` (also inside `jit`); reads "photons"
        and the four collections. Hits and tracks without energy are ignored.

    Returns:
      float32 `[n, 2, len(NAMES)]`, see `NAMES`. For a photon without pT all are 0. For a photon without an
      ECAL hit near its direction, the shapes that need one are 0, and its cones are around its direction.

    Raises:
      ValueError: the batch lacks a collection or a column.
    """
    if not hasattr(events_or_batch, "to_batch"):
        return _both_photons(_read(events_or_batch))
    events = events_or_batch
    longest = {name: int(getattr(events, name).counts.max(initial=1)) for name in _COLUMNS}
    lengths = {name: -(-length // _LENGTH_STEP) * _LENGTH_STEP for name, length in longest.items()}
    parts, size = [np.zeros((0, 2, len(NAMES)), np.float32)], min(_ROWS, max(len(events), 1))
    for first in range(0, len(events), size):
        # The last batch is filled with copies of the last row, so that all batches have one shape.
        rows = np.minimum(np.arange(first, first + size), len(events) - 1)
        parts.append(np.asarray(_both_photons(_read(events[rows].to_batch(lengths))))[: len(events) - first])
    return np.concatenate(parts)


def _read(batch: Mapping) -> dict:
    if "photons" not in batch:
        raise ValueError(f"The batch has no 'photons', which shower shapes need; it has {sorted(batch)}.")
    for name, columns in _COLUMNS.items():
        if not set(columns) <= set(batch.get(name, ())):
            raise ValueError(
                f"The batch has no {name!r} with {', '.join(columns)}, which shower shapes need; it has "
                f"{sorted(batch)}. Make it with Events.to_batch()."
            )
    return {name: batch[name] for name in ("photons", *_COLUMNS)}


@jax.jit
def _both_photons(batch: Mapping) -> jax.Array:
    """The shapes of a batch; all arrays are `[n, photon, hit]`, broadcast along axes of length 1."""
    pt, eta, phi = (batch["photons"].astype(jnp.float32)[:, :, i, None] for i in range(3))
    hits = _ecal_hits(batch)
    near = (abs(hits.eta - eta) < SEED_WINDOW[0]) & (abs(geometry.delta_phi(hits.phi, phi)) < SEED_WINDOW[1])
    lit = jnp.where(near, hits.energy, 0)
    place = jnp.argmax(lit, axis=2, keepdims=True)
    found = jnp.take_along_axis(lit, place, axis=2) > 0
    seed = _Hits(*(jnp.take_along_axis(jnp.broadcast_to(a, lit.shape), place, axis=2) for a in hits))

    widths, (e3x3, e1_over_e25), shower_eta = _crystal_shapes(hits, seed)
    total, shower_phi = _supercluster(hits, seed)
    total = jnp.where(found, total, 0)
    axis_eta, axis_phi = jnp.where(found, shower_eta, eta), jnp.where(found, shower_phi, phi)
    behind, hcal = _hcal_sums(batch["hcal"], axis_eta, axis_phi)
    shapes = [
        *(jnp.where(found, width, 0) for width in widths),
        _ratio(jnp.where(found, e3x3, 0), total),
        jnp.where(found, e1_over_e25, 0),
        _ratio(behind, total),
        _ecal_isolation(hits, axis_eta, axis_phi),
        hcal,
        _track_isolation(batch["tracks"], eta, phi),
    ]
    return jnp.where(pt > 0, jnp.concatenate(shapes, axis=2), 0)


class _Hits(NamedTuple):
    """ECAL hits: x, y from the center of an endcap, or row and column; part 0 barrel, 1 EE-, 2 EE+."""

    energy: jax.Array
    eta: jax.Array
    phi: jax.Array
    x: jax.Array
    y: jax.Array
    part: jax.Array


def _ecal_hits(batch: Mapping) -> _Hits:
    cell = [batch["eb"]["cell"].astype(jnp.int32), batch["ee"]["cell"].astype(jnp.int32) + geometry.EB_CELLS]
    energy = jnp.concatenate([batch["eb"]["energy"], batch["ee"]["energy"]], axis=1)
    place = jnp.asarray(_crystals())[jnp.concatenate(cell, axis=1)][:, None]
    return _Hits(energy[:, None], *(place[..., i] for i in range(5)))


@functools.cache
def _crystals() -> np.ndarray:
    """eta, phi, x, y, part of each cell of EB, then of EE, float32 `[cells, 5]`; zeros without a crystal."""
    table = np.zeros((geometry.EB_CELLS + geometry.EE_CELLS, 5), np.float32)
    row, column = np.divmod(np.arange(geometry.EB_CELLS), geometry.EB_COLUMNS)
    barrel = geometry.eb_eta_centres()[row], geometry.eb_phi_centres()[column], row, column, 0 * row
    table[: geometry.EB_CELLS] = np.stack(barrel, axis=1)
    endcap = geometry.ee_crystals()
    ix, iy, zside = geometry.ee_coordinates(endcap.cell)
    part = np.where(zside < 0, 1, 2)
    columns = endcap.eta, endcap.phi, _from_beam(ix), _from_beam(iy), part
    table[geometry.EB_CELLS + endcap.cell.astype(np.int64)] = np.stack(columns, axis=1)
    return table


def _from_beam(index: np.ndarray) -> np.ndarray:
    """1..100 -> -50..-1, 1..50, without 0 (`EcalClusterTools::getNormedIX`)."""
    return np.where(index > 50, index - 50, index - 51)


def _steps(hits: _Hits, seed: _Hits):
    """Crystals from the seed along x (or row) and y (or column); inf for hits of another part of the ECAL."""
    barrel, half = seed.part == 0, geometry.EB_COLUMNS // 2
    dx, dy = hits.x - seed.x, hits.y - seed.y
    # The barrel wraps around in phi; the endcaps have no crystal at x = 0 or y = 0.
    dy = jnp.where(barrel, (dy + half) % geometry.EB_COLUMNS - half, _over_zero(hits.y, seed.y))
    dx = jnp.where(barrel, dx, _over_zero(hits.x, seed.x))
    same = hits.part == seed.part
    return jnp.where(same, dx, jnp.inf), jnp.where(same, dy, jnp.inf)


def _over_zero(index, origin):
    return index - origin - jnp.where(index * origin < 0, jnp.sign(index), 0)


def _crystal_shapes(hits: _Hits, seed: _Hits):
    """((sigma_ieta_ieta, sigma_iphi_iphi, cov), (E3x3, E1/E25), eta), each `[n, 2, 1]`.

    The last is the mean eta of the shower, with the weights of the widths.
    """
    dx, dy = _steps(hits, seed)
    barrel = seed.part == 0
    read = jnp.where((abs(dx) <= 2) & (abs(dy) <= 2), hits.energy, 0)
    e5x5, energy = _sum(read), jnp.maximum(read, 0)
    positive = _sum(energy)

    def mean(values, weights, total):
        return _ratio(_sum(jnp.where(weights > 0, weights * values, 0)), total)

    # Distances from the energy-weighted mean: Cartesian in the barrel, polar in the endcaps.
    mean_x, mean_y = mean(hits.x, energy, positive), mean(hits.y, energy, positive)
    radius = jnp.hypot(hits.x, hits.y)
    cross, dot = mean_x * hits.y - mean_y * hits.x, mean_x * hits.x + mean_y * hits.y
    along = jnp.where(barrel, dx - mean(dx, energy, positive), radius - mean(radius, energy, positive))
    around = jnp.where(barrel, dy - mean(dy, energy, positive), radius * jnp.arctan2(cross, dot))

    log = jnp.log(jnp.where(energy > 0, energy, 1)) - jnp.log(jnp.where(e5x5 > 0, e5x5, 1))
    weight = jnp.where(energy > 0, jnp.maximum(0, geometry.SHAPE_WEIGHT + log), 0)
    total = _sum(weight)
    size = jnp.where(barrel, geometry.EB_CRYSTAL_SIZE, geometry.EE_CRYSTAL_SIZE)
    variances = [mean(a * b, weight, total) for a, b in ((along, along), (around, around), (along, around))]
    widths = size * jnp.sqrt(variances[0]), size * jnp.sqrt(variances[1]), size**2 * variances[2]

    e3x3 = _sum(jnp.where((abs(dx) <= 1) & (abs(dy) <= 1), read, 0))
    eta = seed.eta + mean(hits.eta - seed.eta, weight, total)
    return widths, (e3x3, _ratio(seed.energy, e5x5)), eta


def _supercluster(hits: _Hits, seed: _Hits):
    """(energy, mean phi) of the window of the supercluster, each `[n, 2, 1]`."""
    dx, dy = _steps(hits, seed)
    deta, dphi = abs(hits.eta - seed.eta), geometry.delta_phi(hits.phi, seed.phi)
    strip = (abs(dx) <= 2) & (abs(dy) <= BARREL_REACH)
    window = (deta < ENDCAP_WINDOW[0]) & (abs(dphi) < ENDCAP_WINDOW[1]) & jnp.isfinite(dx)
    # Close to the beam, a corner of the 5x5 may lie outside the window.
    window |= (abs(dx) <= 2) & (abs(dy) <= 2)
    # Negative energies are kept here, so that noise averages to zero.
    energy = jnp.where(jnp.where(seed.part == 0, strip, window), hits.energy, 0)
    lit = jnp.maximum(energy, 0)
    return _sum(energy), seed.phi + _ratio(_sum(lit * dphi), _sum(lit))


def _ecal_isolation(hits: _Hits, eta, phi):
    deta, distance = _distance(hits.eta, hits.phi, eta, phi)
    barrel = abs(eta) < geometry.EB_MAX_ETA
    crystal = jnp.where(barrel, 0.0174, 0.00864 * abs(jnp.sinh(hits.eta)))
    et = hits.energy / jnp.cosh(hits.eta)
    counts = jnp.where(barrel, hits.energy > ECAL_ENERGY, et > ECAL_ET)
    counts &= (distance < CONE) & (distance >= ECAL_VETO * crystal) & (deta >= ECAL_STRIP * crystal)
    return _sum(jnp.where(counts, et, 0))


def _hcal_sums(hits: Mapping, eta, phi):
    """(GeV behind the shower, sum of ET in GeV around it)."""
    tower = hits["cell"].astype(jnp.int32) % geometry.HCAL_TOWERS
    tower_eta, tower_phi, threshold = (jnp.asarray(column)[tower][:, None] for column in _towers())
    energy = hits["energy"][:, None]
    energy = jnp.where(energy > threshold, energy, 0)
    _, distance = _distance(tower_eta, tower_phi, eta, phi)
    around = (distance >= HCAL_INNER) & (distance < CONE)
    et = energy / jnp.cosh(tower_eta)
    return _sum(jnp.where(distance < HCAL_INNER, energy, 0)), _sum(jnp.where(around, et, 0))


@functools.cache
def _towers() -> tuple[np.ndarray, ...]:
    """Middle (eta, phi) of each HCAL tower and its threshold in GeV, float32 `[HCAL_TOWERS]`."""
    ieta, iphi, _ = geometry.hcal_coordinates(np.arange(geometry.HCAL_TOWERS))
    ring, edges = abs(ieta), np.array(geometry.HCAL_ETA_EDGES)
    eta = np.sign(ieta) * (edges[ring] + edges[ring - 1]) / 2
    wide = ring > geometry.HCAL_LAST_NARROW
    phi = np.deg2rad(5 * (iphi - np.where(wide, 0.0, 0.5)))
    threshold = np.where(ring <= LAST_HB_RING, HB_THRESHOLD, HE_THRESHOLD)
    return tuple(column.astype(np.float32) for column in (eta, phi, threshold))


def _track_isolation(tracks: Mapping, eta, phi):
    pt = tracks["pt"][:, None]
    deta, distance = _distance(tracks["eta"][:, None], tracks["phi"][:, None], eta, phi)
    counts = (distance >= TRACK_INNER) & (distance < CONE) & (deta >= TRACK_STRIP)
    return _sum(jnp.where(counts, jnp.maximum(pt, 0), 0))


def _distance(eta, phi, eta0, phi0):
    """(|d eta|, dR) between directions."""
    return abs(eta - eta0), jnp.hypot(eta - eta0, geometry.delta_phi(phi, phi0))


def _sum(values):
    return jnp.sum(values, axis=2, keepdims=True)


def _ratio(value, total):
    return jnp.where(total > 0, value / jnp.where(total > 0, total, 1), 0)
