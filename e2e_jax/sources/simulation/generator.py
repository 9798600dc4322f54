"""Proton-proton collisions at 8 TeV from Pythia 8.

The processes are those of the CMS simulated samples of the paper: gg -> H -> gamma gamma, Born
diphotons, photon+jet with the double EM enrichment, and inelastic collisions for pile-up.
Pythia 8: arXiv:2203.11601. The tune is CUETP8S1-CTEQ6L1 (arXiv:1512.00815), which CMS made for this generator
with CTEQ6L1, the parton distributions of its 2012 samples. Initial-state radiation depends on the parton
distributions. The kinematics of the two selected photons, smeared but without a detector, separate H from
gamma gamma with an AUC of 0.803 with this tune and with 4C, both with CTEQ6L1; and of 0.816 with Monash and
0.815 with CUETP8M1, both with NNPDF2.3.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

import numpy as np

from e2e_jax.errors import StudyError
from e2e_jax.events.base import Ragged
from e2e_jax.sources.simulation import enrichment, multiparton
from e2e_jax.sources.simulation.early_veto import Bounds, early_veto
from e2e_jax.study.samples import Pythia, Sample

Particles = Ragged
"""Final particles except neutrinos: `pdg`, `charge` (e), `px, py, pz, e` (GeV), `x, y, z` (origin, cm)."""

COMMON = (
    "Print:quiet = on",
    "Random:setSeed = on",
    "Beams:eCM = 8000.",
    "Tune:pp = 15",
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10.",
    "Check:event = off",
)
"""Settings of every process; particles with c tau above 10 mm (K0S, Lambda) decay in the detector. Pythia's
check of each finished event takes 6 % of the time; `conserving` checks only the events that are kept."""

LARGEST_DEVIATION = 1e-4
"""Allowed deviation of an event's energy and momentum from the beams, in units of the beams' energy, as in
Pythia."""

NEUTRINOS = (12, 14, 16)
MAX_SEED = 900_000_000
MOST_IN_VAIN = 100_000
"""Events after which it is an error if none has passed the filters."""

MINIMUM_BIAS = Sample("minimum_bias", Pythia(("SoftQCD:inelastic = on",)))
"""Inelastic collisions, for pile-up."""


def generate(
    sample: Sample, seed: int, *, fast: bool = False, filters: bool = True, chunk: int = 100
) -> Generation:
    """Generate an unlimited number of events of one sample that may pass the selection.

    The events depend only on sample, seed, fast and filters; `chunk` only splits the sequence differently.
    Each call has its own Pythia object, so jobs share no state. Its start takes about 0.4 s (0.2 s when fast
    or for minimum-bias collisions, see `multiparton`).

    Args:
      sample: its source is `Pythia`.
      seed: 0 to 899,999,999.
      fast: no multiparton interactions, which take most of the time; overlay two more pile-up collisions
        instead. Not for minimum-bias collisions, which consist of these interactions.
      filters: apply the sample's quick look and enrichment. Its veto always applies.
      chunk: collisions generated at a time.

    Returns:
      An iterator over `Particles` chunks, each with at least one event.

    Raises:
      ImportError: pythia8mc or awkward is not installed.
      StudyError: Pythia refuses a setting, or cannot start with the settings.
      ValueError: the seed is out of range.
    """
    return Generation(sample, seed, fast=fast, filters=filters, chunk=chunk)


class Generation(Iterator[Particles]):
    """Iterator over chunks of events, with counts of generated and yielded events.

    Attributes:
      generated: collisions generated so far, after the veto on the hard process.
      passed: events yielded so far.
    """

    def __init__(self, sample: Sample, seed: int, *, fast: bool, filters: bool, chunk: int):
        if not 0 <= seed < MAX_SEED:
            raise ValueError(
                f"Seed {seed} is outside Pythia's range, 0 to {MAX_SEED - 1}. Choose a seed within it."
            )
        self.sample, self.filters, self.chunk = sample, filters, chunk
        self.generated = self.passed = 0
        self._pythia, self._veto = self.start(seed, fast)
        self._charges: dict[int, int] = {}

    def start(self, seed: int, fast: bool):
        """Start Pythia; returns the Pythia object and the user hook that it calls."""
        return start_pythia(self.sample, seed, fast)

    def __next__(self) -> Particles:
        while True:
            batch = self._pythia.nextBatch(self.chunk)
            record = record_of(batch)
            if not len(record):
                raise StudyError(
                    f"Pythia made no event of {self.sample.label} in {self.chunk} attempts: its settings "
                    "leave no phase space, or the veto refuses every event."
                )
            keep = np.flatnonzero(self.passing(record))
            keep = keep[conserving(record[keep])]
            self.generated += len(record)
            self.passed += len(keep)
            if not self.passed and self.generated >= MOST_IN_VAIN:
                raise StudyError(
                    f"None of the first {self.generated} events of {self.sample.label} passed the "
                    "generator's filters (quick_look, em_enriched): loosen them, or leave them out."
                )
            if len(keep):
                return self.final_particles(record[keep])

    def passing(self, record: Ragged) -> np.ndarray:
        """Mask of the events of a record (see `record_of`) to keep, boolean `[n]`."""
        keep = np.ones(len(record), bool)
        if not self.filters:
            return keep
        if look := self.sample.quick_look:
            keep = enrichment.two_clusters(record, look.pt, look.eta, look.mass)
        if self.sample.em_enriched and keep.any():
            keep[keep] = enrichment.double_em_enriched(record[keep])
        return keep

    def final_particles(self, record: Ragged) -> Particles:
        """The final particles of a record that a detector can measure."""
        seen = (record.status > 0) & ~np.isin(np.abs(record.pdg), NEUTRINOS)
        record = record.filter(seen)
        columns = {name: record.columns[name] for name in ("pdg", "px", "py", "pz", "e", "x", "y", "z")}
        return Ragged(record.offsets, {**columns, "charge": self.charges(record.pdg)})

    def charges(self, pdg: np.ndarray) -> np.ndarray:
        """Electric charges of final particles, int8, in units of e."""
        kinds, index = np.unique(pdg, return_inverse=True)
        for kind in set(kinds.tolist()) - self._charges.keys():
            self._charges[kind] = round(self._pythia.particleData.charge(kind))
        return np.array([self._charges[kind] for kind in kinds.tolist()], np.int8)[index]

    @property
    def cross_section(self) -> float:
        """Cross-section of the events generated (after the veto, before the filters), pb."""
        return self._pythia.infoPython().sigmaGen() * 1e9


def conserving(record: Ragged) -> np.ndarray:
    """Mask of the events of a record that conserve the energy and momentum of the beams, boolean `[n]`."""
    final, first = record.filter(record.status > 0), record.offsets[:-1]
    tolerance, sound = LARGEST_DEVIATION * record.e[first], np.ones(len(record), bool)
    for name in ("px", "py", "pz", "e"):
        total = np.bincount(final.event_index, final.columns[name], len(record))
        sound &= np.abs(total - record.columns[name][first]) < tolerance
    return sound


def bounds_of(sample: Sample) -> Bounds:
    """The bounds of a sample's early veto."""
    photon_eta = sample.quick_look.eta if sample.quick_look else 0.0
    return Bounds(sample.veto_eta, photon_eta, sample.pair_mass)


def start_pythia(sample: Sample, seed: int, fast: bool, veto=None):
    """Start Pythia; returns the Pythia object and the veto that it calls, which the caller must keep alive.

    Args:
      sample, seed, fast: as for `generate`.
      veto: user hook that replaces the sample's early veto.

    Raises:
      ImportError: pythia8mc or awkward is not installed.
      StudyError: Pythia refuses a setting, or cannot start with the settings; contains Pythia's message.
    """
    try:
        import awkward  # noqa: F401  (nextBatch returns its arrays)

        # The first nextBatch of a process imports this module; two threads that do so at once deadlock.
        import numpy.core.multiarray  # noqa: F401
        import pythia8mc
    except ImportError as error:
        raise ImportError(
            "Simulated events need Pythia 8 and awkward: pip install 'pythia8mc==8.317.2' awkward "
            "(wheels exist for CPython 3.11 to 3.13)."
        ) from error
    settings = [*COMMON, *sample.source.settings, f"Random:seed = {seed + 1}"]
    if fast:
        settings.append("PartonLevel:MPI = off")
    with printed() as said:
        pythia = pythia8mc.Pythia("", False)
        refused = [setting for setting in settings if not pythia.readString(setting)]
        if veto is None and sample.veto_eta:
            veto = early_veto(pythia8mc, bounds_of(sample))
        if veto is not None:
            pythia.setUserHooksPtr(veto)
        if sample.source == MINIMUM_BIAS.source and (table := multiparton.table()).exists():
            multiparton.use(table, pythia)
        started = not refused and pythia.init()
    if not started:
        what = f"refuses the setting {refused[0]!r}" if refused else "cannot start with the settings"
        message = " ".join(said().split()) or "nothing"
        raise StudyError(f"Pythia {what} of the sample {sample.label!r}. Pythia says: {message}")
    return pythia, veto


_PRINTING = threading.Lock()
"""Held while the standard output of the process is redirected."""


@contextlib.contextmanager
def printed() -> Iterator[Callable[[], str]]:
    """Collect the output of C++ code in this context, which writes to the standard output directly."""
    with _PRINTING, tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        sys.stdout.flush()
        before = os.dup(1)
        stack.callback(os.close, before)
        stack.callback(os.dup2, before, 1)
        os.dup2(file.fileno(), 1)
        text = []
        yield lambda: text[0]
        file.seek(0)
        text.append(file.read().decode(errors="replace"))


def record_of(batch) -> Ragged:
    """Convert Pythia's batch of events to a record.

    Args:
      batch: awkward array from `nextBatch`.

    Returns:
      `pdg`, `status` (Pythia's code: positive for final particles), `mother` (row of the first
      mother in the event), `px, py, pz, e` in GeV and the production vertex `x, y, z` in cm.
    """
    import awkward as ak

    particles = ak.flatten(batch.prt, axis=1)
    columns = {"pdg": particles.id, "status": particles.status, "mother": particles.mother1}
    columns.update({name: particles.p[name] for name in ("px", "py", "pz", "e")})
    columns = {name: ak.to_numpy(column) for name, column in columns.items()}
    # Pythia gives no vertex for prompt particles, and the others in mm.
    for name, axis in (("x", "px"), ("y", "py"), ("z", "pz")):
        columns[name] = ak.to_numpy(ak.fill_none(particles.vProd[axis], 0.0)) / 10.0
    return Ragged.from_counts(ak.to_numpy(ak.num(batch.prt, axis=1)), columns)
