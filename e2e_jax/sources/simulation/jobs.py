"""The jobs of simulated datasets: pieces of a sample that take tens of seconds on one core."""

from __future__ import annotations

import dataclasses

from e2e_jax.execution.jobs import LUMI_BLOCK, SPLITS, Job, derive_seed
from e2e_jax.study import Study
from e2e_jax.study.samples import Era, Sample, quotas
from e2e_jax.study.selection import Selection

EVENTS_PER_SHARD = 2000
"""Selected events per pile-up file; each of its collisions then appears in about 16 of them."""


@dataclasses.dataclass(frozen=True)
class SimulationJob(Job):
    """A number of selected events of one sample and one era, to be simulated.

    Attributes:
      sample: the sample.
      label: its index among the study's samples.
      era: has the run number and the pile-up.
      seed: 63-bit seed of everything random in the job.
      events: number of events after the selection.
      select: the selection.
      endcaps: simulate the endcaps too.
      fast: the faster generator settings, see `sources.simulation`.
      reduction: rule for the rec hits that are kept, see `sources.simulation`.
      lumi: luminosity section of the events, unique in a dataset, so (run, lumi, event) is unique too.
      split: the split of the events; no two splits share any pile-up.
      pileup_shards: number of pile-up files, see `sources.simulation.pool_files`.
    """

    sample: Sample
    label: int
    era: Era
    seed: int
    events: int
    select: Selection
    endcaps: bool = False
    fast: bool = False
    reduction: str = "aodsim"
    lumi: int = 1
    split: str = "train"
    pileup_shards: int = 1

    def content(self) -> dict:
        """Everything that determines the events, for JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        sample, era = dataclasses.asdict(self.sample), dataclasses.asdict(self.era)
        return fields | {"sample": sample, "era": era, "select": self.select.identity()}

    def __str__(self) -> str:
        what = f"{self.events} events of {self.sample.label}"
        return f"The simulation of {what} (era {self.era.name}, seed {self.seed})"


@dataclasses.dataclass(frozen=True)
class GunJob(Job):
    """A number of shots of one particle gun.

    Attributes:
      sample: its source is a `Gun`.
      label: its index among the study's samples.
      seed: 63-bit seed of everything random in the job.
      events: number of shots.
      lumi: luminosity section of the shots, unique in a dataset.
      split: the split of the shots; no two splits share any pile-up.
    """

    sample: Sample
    label: int
    seed: int
    events: int
    lumi: int = 1
    split: str = "train"

    def __str__(self) -> str:
        return f"The simulation of {self.events} shots of {self.sample.label} (seed {self.seed})"


def simulation_jobs(
    study: Study, events: int, split: str = "train", *, seed: int | None = None, fast: bool = False
) -> list[Job]:
    """The jobs of a balanced split, the longest first.

    Args:
      study: its samples are simulated.
      events: selected events per sample.
      split: one of `jobs.SPLITS`.
      seed: seed of the dataset, the study's by default; each job derives its own seed from it, and splits
        never share one.
      fast: as in `SimulationJob`.

    Raises:
      ValueError: the split is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"No split {split!r}; there are {', '.join(SPLITS)}.")
    seed = study.seed if seed is None else seed
    made = _gun_jobs if study.events == "showers" else _collision_jobs
    return made(study, events, seed, split, fast)


def _collision_jobs(study: Study, events: int, seed: int, split: str, fast: bool) -> list[Job]:
    jobs: list[SimulationJob] = []
    options = {"select": study.select, "endcaps": study.endcaps, "fast": fast, "split": split}
    if study.events == "jets":
        # Jets and their images need all hits that were read out.
        options["reduction"] = "selective_readout"
    options["pileup_shards"] = max(1, -(-events * len(study.samples) // EVENTS_PER_SHARD))
    for label, sample in enumerate(study.samples):
        for place, (era, quota) in enumerate(zip(sample.periods, quotas(events, sample.periods))):
            for piece, size in enumerate(_pieces(quota, sample.job_events)):
                path = (seed, SPLITS.index(split), label, place, piece)
                lumi = SPLITS.index(split) * LUMI_BLOCK + len(jobs) + 1
                jobs.append(SimulationJob(sample, label, era, derive_seed(path), size, **options, lumi=lumi))
    return sorted(jobs, key=lambda job: -job.events * job.sample.cost)


def _gun_jobs(study: Study, events: int, seed: int, split: str, fast: bool) -> list[Job]:
    del fast  # guns need no generator
    jobs: list[GunJob] = []
    pieces = [_pieces(events, sample.job_events) for sample in study.samples]
    for piece in range(max(map(len, pieces))):
        for label, sample in enumerate(study.samples):
            if piece < len(pieces[label]):
                lumi = SPLITS.index(split) * LUMI_BLOCK + len(jobs) + 1
                job_seed = derive_seed((seed, SPLITS.index(split), label, piece))
                jobs.append(GunJob(sample, label, job_seed, pieces[label][piece], lumi, split))
    return jobs


def _pieces(events: int, most: int) -> list[int]:
    """Split a number of events into nearly equal sizes of at most `most`."""
    number = -(-events // most)
    return [events * (piece + 1) // number - events * piece // number for piece in range(number)]
