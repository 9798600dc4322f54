"""Jets of simulated collisions: found from tracks and towers, matched to partons, cut out of the image.

The clustered objects are the tracks and the tower energy that exceeds them, as in the energy flow of Delphes
(arXiv:1307.6346). A tower has the ECAL and HCAL energy of 5 x 5 pixels of the stitched image.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import numpy as np

from e2e_jax.detector import geometry, jet_pixels, pixels, projections
from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import Events
from e2e_jax.events.jets import Jets
from e2e_jax.sources.simulation import generator, pileup, simulate
from e2e_jax.sources.simulation.jobs import SimulationJob
from e2e_jax.sources.simulation.pool_files import Shards
from e2e_jax.sources.simulation.propagation import ECAL_RADIUS, ENDCAP_Z, PT_PER_CM
from e2e_jax.study import jet_selection as selection

CHANNELS = ("tracks", "ecal", "hcal")
OUTGOING = 23
"""Absolute status of the outgoing partons of the hard process (Pythia 8)."""
SEARCH = 3
"""Towers on each side of the jet's tower; the most energetic HCAL tower among them is the image center."""
LEAST_TOWER = 0.3
"""GeV, minimum transverse energy of a clustered tower; the noise of a tower is lower."""

_TOWER_ROWS = projections.FULL_ROWS // projections.TOWER_SIDE
_MARGIN = jet_pixels.TOWERS // 2


class Dijets(generator.Generation):
    """Collisions with the final particles and the outgoing partons of the hard process."""

    def final_particles(self, record: Ragged) -> Ragged:
        """The final particles that a detector can measure, and the partons; `status` distinguishes them."""
        seen = (record.status > 0) & ~np.isin(np.abs(record.pdg), generator.NEUTRINOS)
        record = record.filter(seen | (np.abs(record.status) == OUTGOING))
        names = ("pdg", "px", "py", "pz", "e", "x", "y", "z", "status")
        columns = {name: record.columns[name] for name in names}
        return Ragged(record.offsets, {**columns, "charge": self.charges(record.pdg)})


def produce(job: SimulationJob, pool: pileup.Pool | None = None) -> Jets:
    """Simulate collisions until `job.events` jets pass the selection; arguments as `simulate.produce`.

    Raises:
      ImportError: fastjet is not installed.
      StudyError: no jet passes the selection; or as in `generator`.
    """
    start_fastjet()
    rng = np.random.default_rng(job.seed)
    chunks: Iterator[Ragged] = Dijets(
        job.sample,
        job.seed % generator.MAX_SEED,
        fast=job.fast,
        filters=True,
        chunk=2 * simulate.BATCH,
    )
    if pool is None:
        shards = Shards(job.split, job.pileup_shards, job.endcaps)
        chunks = simulate.collisions_while_made(shards, chunks, 2 * job.events)
    parts, made, seen = [], 0, 0
    for record in simulate.batches(chunks, simulate.BATCH):
        partons = record.filter(np.abs(record.status) == OUTGOING)
        particles = record.filter((record.status > 0) & (record.status != OUTGOING))
        drawn = shards.draw(rng) if pool is None else pool
        found = jets_of(simulate.simulate(particles, job, drawn, rng), partons, job)
        parts.append(found[: job.events - made])
        made, seen = made + len(parts[-1]), seen + len(record)
        if made == job.events:
            break
        if not made and seen >= simulate.MOST_IN_VAIN:
            raise StudyError(
                f"None of the first {seen} simulated events of {job.sample.label} has a jet that passes the "
                "selection and matches a parton. Loosen the selection, or generate events that pass it."
            )
    jets = Jets.concatenate(parts)
    jets.event[:] = np.arange(1, len(jets) + 1)
    return jets


@functools.cache
def start_fastjet():
    """The module fastjet; hides the banner that it prints at first use."""
    try:
        import fastjet
    except ImportError as error:
        raise ImportError(
            "Simulated jets need fastjet: pip install 'fastjet>=3.4,<4' (the extra jets of this package)."
        ) from error
    with generator.printed():
        fastjet.ClusterSequence(
            [fastjet.PseudoJet(1.0, 0.0, 0.0, 1.0)], fastjet.JetDefinition(fastjet.antikt_algorithm, 0.5)
        )
    return fastjet


def jets_of(events: Events, partons: Ragged, job: SimulationJob) -> Jets:
    """The jets of events that pass the selection of the job and match a parton.

    Args:
      events: events with all hits that were read out.
      partons: the outgoing partons, `pdg`, `px`, `py`, `pz`.
      job: its selection is `study.jet_selection.Jets`.
    """
    cuts: selection.Jets = job.select.function
    parts = [Jets.empty(observable.name for observable in selection.OBSERVABLES)]
    for index in range(len(events)):
        hits = {name: getattr(events, name).event(index) for name in events.COLLECTIONS}
        image = pixels.draw_event(hits, pixels.FULL, CHANNELS)
        found = cluster(objects(image, hits["tracks"]), cuts.radius, cuts.pt)
        keep = cuts.accepted(found["pt"], found["eta"])
        keep &= _matched(found, partons.event(index), cuts, job.sample.label)
        center = np.array([_seed(image, *at) for at in zip(found["eta"], found["phi"])]).reshape(-1, 2)
        # The window must not reach beyond the endcaps.
        keep &= (center[:, 0] >= _MARGIN) & (center[:, 0] < _TOWER_ROWS - _MARGIN)
        for jet in np.flatnonzero(keep):
            parts.append(
                Jets.from_images(
                    _window(image, *center[jet])[None],
                    range(len(CHANNELS)),
                    job.lumi,
                    np.zeros(1),
                    np.full(1, job.label),
                    {o.name: found[o.name][[jet]] for o in selection.OBSERVABLES},
                    last=True,
                )
            )
    jets = Jets.concatenate(parts)
    jets.run[:] = job.era.run
    return jets


def objects(image: np.ndarray, tracks) -> np.ndarray:
    """Objects to cluster: tracks, and the energy of towers in excess of the tracks that reach them.

    A track's charge is not stored, so the field may bend it to one of two towers. It is counted in the one
    with more energy.

    Args:
      image: tracks, ECAL and HCAL on the stitched image, `[280, 360, 3]`.
      tracks: `pt`, `eta`, `phi` of the event's tracks.

    Returns:
      (px, py, pz, e) in GeV, `[n, 4]`; the objects have no mass.
    """
    energy, eta, phi = towers(image)
    pt = tracks["pt"].astype(np.float64)
    distance = np.minimum(ECAL_RADIUS, ENDCAP_Z / np.maximum(np.sinh(np.abs(tracks["eta"])), 1e-9))
    half_turn = distance / (2 * pt / PT_PER_CM)
    reaches = half_turn < 1
    turn = np.arcsin(np.minimum(half_turn, 1))
    either = np.stack([_tower(tracks["eta"], tracks["phi"] + sign * turn) for sign in (1, -1)])
    into = np.where(energy.ravel()[either[0]] > energy.ravel()[either[1]], either[0], either[1])
    carried = np.bincount(into[reaches], (pt * np.cosh(tracks["eta"]))[reaches], energy.size)
    rest = (energy.ravel() - carried).reshape(energy.shape) / np.cosh(eta)[:, None]
    row, column = np.nonzero(rest > LEAST_TOWER)
    return np.concatenate(
        [
            _massless(pt, tracks["eta"], tracks["phi"]),
            _massless(rest[row, column], eta[row], phi[column]),
        ]
    )


def towers(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energy of the towers of the stitched image `[56, 72]`, eta of their rows and phi of their columns."""
    side = projections.TOWER_SIDE
    ecal = image[..., 1].reshape(_TOWER_ROWS, side, -1, side).sum(axis=(1, 3), dtype=np.float64)
    return ecal + image[::side, ::side, 2], *_directions()


@functools.cache
def _directions() -> tuple[np.ndarray, np.ndarray]:
    edges = _eta_edges()
    middle = geometry.eb_phi_centres()[projections.TOWER_SIDE // 2 :: projections.TOWER_SIDE]
    return (edges[1:] + edges[:-1]) / 2, middle


@functools.cache
def _eta_edges() -> np.ndarray:
    """Edges of the rows of towers; the last row is tower 28 with 29."""
    upper = np.array([*geometry.HCAL_ETA_EDGES[: projections.LAST_RING], geometry.HCAL_ETA_EDGES[-1]])
    return np.concatenate([-upper[:0:-1], upper])


def _tower(eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """The tower in a direction: row * 72 + column of the stitched image."""
    row = np.clip(np.searchsorted(_eta_edges(), eta, side="right") - 1, 0, _TOWER_ROWS - 1)
    column = np.floor(np.rad2deg(phi) / 5).astype(np.int64) + projections.PHI_SHIFT
    return row * geometry.HCAL_COLUMNS + column % geometry.HCAL_COLUMNS


def _massless(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=1)


def cluster(momenta: np.ndarray, radius: float, least_pt: float) -> dict[str, np.ndarray]:
    """The anti-kT jets above a pT: their observables and `phi`, `[jets]` each.

    Args:
      momenta: (px, py, pz, e) of the objects, `[n, 4]`, GeV.
      radius: radius of the algorithm.
      least_pt: minimum pT, GeV.
    """
    fastjet = start_fastjet()
    given = [fastjet.PseudoJet(*momentum) for momentum in momenta.tolist()]
    sequence = fastjet.ClusterSequence(given, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    found = fastjet.sorted_by_pt(sequence.inclusive_jets(least_pt))
    rows = [_shapes(jet) for jet in found]
    names = ("pt", "m0", "eta", "phi", "multiplicity", "width", "ptd")
    return dict(zip(names, np.array(rows, np.float64).reshape(-1, len(names)).T))


def _shapes(jet) -> tuple[float, ...]:
    inside = np.array([(one.pt(), one.eta(), one.phi()) for one in jet.constituents()])
    pt, total = inside[:, 0], inside[:, 0].sum()
    away = np.hypot(inside[:, 1] - jet.eta(), geometry.delta_phi(inside[:, 2], jet.phi()))
    width, dispersion = (pt * away).sum() / total, np.sqrt((pt**2).sum()) / total
    return jet.pt(), max(jet.m(), 0.0), jet.eta(), jet.phi_std(), len(pt), width, dispersion


def _matched(found: dict, partons: dict, cuts: selection.Jets, label: str) -> np.ndarray:
    """Mask of jets whose nearest parton is within the distance and of the label's kind."""
    pt = np.hypot(partons["px"], partons["py"])
    eta, phi = np.arcsinh(partons["pz"] / pt), np.arctan2(partons["py"], partons["px"])
    across = geometry.delta_phi(found["phi"][:, None], phi[None, :])
    away = np.hypot(found["eta"][:, None] - eta[None, :], across)
    nearest = away.argmin(axis=1)
    kind = np.isin(np.abs(partons["pdg"]), cuts.partons[label])
    return (away.min(axis=1) < cuts.distance) & kind[nearest]


def _seed(image: np.ndarray, eta: float, phi: float) -> tuple[int, int]:
    """Row and column of the most energetic HCAL tower near a direction; the tower itself if all are empty."""
    hcal = image[:: projections.TOWER_SIDE, :: projections.TOWER_SIDE, 2]
    row, column = divmod(int(_tower(np.array(eta), np.array(phi))), geometry.HCAL_COLUMNS)
    best, place = hcal[row, column], (row, column)
    for r, c in itertools.product(range(-SEARCH, SEARCH + 1), repeat=2):
        near = row + r, (column + c) % geometry.HCAL_COLUMNS
        if 0 <= near[0] < _TOWER_ROWS and hcal[near] > best:
            best, place = hcal[near], near
    return place


def _window(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """The 125 x 125 pixels around a tower; phi wraps."""
    side = projections.TOWER_SIDE
    columns = ((column - _MARGIN) * side + np.arange(jet_pixels.SIDE)) % projections.FULL_COLUMNS
    first = (row - _MARGIN) * side
    return image[first : first + jet_pixels.SIDE][:, columns]
