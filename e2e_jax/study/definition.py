"""The definition of a dataset: samples, selection, sizes and a default task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from e2e_jax.errors import StudyError
from e2e_jax.study.jet_selection import Jets
from e2e_jax.study.observables import Observable
from e2e_jax.study.samples import Files, Gun, Sample
from e2e_jax.study.selection import EVERYTHING, Selection
from e2e_jax.study.task import Task


@dataclasses.dataclass(frozen=True)
class Size:
    """The number of events per label of a dataset.

    Attributes:
      train, validation: events in the split.
      test: events in the test split; by default as many as for validation; 0 for no test split.
      fast: generate collisions without multi-parton interactions, see `sources.simulation`.
      description: one sentence.
    """

    train: int
    validation: int
    test: int | None = None
    fast: bool = True
    description: str = ""

    def __post_init__(self):
        if self.test is None:
            object.__setattr__(self, "test", self.validation)
        for split, least in (("train", 1), ("validation", 1), ("test", 0)):
            if not getattr(self, split) >= least:
                raise StudyError(
                    f"A size cannot have {split}={getattr(self, split)}: give {least} or more events of each "
                    "label."
                )


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything that defines a dataset and its default task.

    Attributes:
      samples: the samples, in the order of the labels.
      task: the learning task. Its labels and observables are filled in from the study.
      sizes: name -> size.
      select: selection, or a function `Events -> Selected`; by default all events are kept.
      name: name of the dataset; by default the name of the study's file.
      detector: simulated part of the detector, "barrel" or "all"; by default the part the selection needs.
      seed: seed of all random numbers in the events.
      description: one or more sentences.

    Raises:
      StudyError: two samples have the same label, the task names something undefined, or the samples cannot
        be combined.
    """

    samples: Sequence[Sample]
    task: Task
    sizes: Mapping[str, Size] = dataclasses.field(default_factory=dict)
    select: Selection | Callable = EVERYTHING
    name: str = ""
    detector: str = ""
    seed: int = 2012
    description: str = ""

    def __post_init__(self):
        object.__setattr__(self, "samples", tuple(self.samples))
        object.__setattr__(self, "select", Selection.of(self.select))
        labels = self.labels
        if not labels:
            raise StudyError("The study has no sample.")
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise StudyError(f"The study has two samples with the label {twice[0]!r}; each needs its own.")
        if len({type(sample.source) for sample in self.samples}) > 1:
            kinds = ", ".join(f"{sample.label}: {type(sample.source).__name__}" for sample in self.samples)
            raise StudyError(f"The samples must all be simulated, or all be files; these differ ({kinds}).")
        if self.detector not in ("", "barrel", "all"):
            raise StudyError(f"The study has detector={self.detector!r}; it is 'barrel' or 'all'.")
        if isinstance(self.select.function, Jets):
            self.select.function.check(labels)
        if not isinstance(self.task, Task):
            raise StudyError('The study needs a task, such as task=Task(signal="h_aa").')
        try:
            task = dataclasses.replace(
                self.task, labels=labels, observables=self.observables, events=self.events
            )
        except ValueError as error:
            raise StudyError(str(error)) from error
        object.__setattr__(self, "task", task)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in order."""
        return tuple(sample.label for sample in self.samples)

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The observables of the events, from the guns or the selection."""
        source = self.samples[0].source
        return source.observables if isinstance(source, Gun) else self.select.observables

    @property
    def events(self) -> str:
        """The kind of the events, a key of `events.kinds.KINDS`."""
        return "showers" if isinstance(self.samples[0].source, Gun) else self.select.events

    @property
    def from_files(self) -> bool:
        """Whether the events are read from files."""
        return isinstance(self.samples[0].source, Files)

    @property
    def endcaps(self) -> bool:
        """Whether the endcaps are simulated."""
        return self.detector != "barrel" if self.detector else not self.select.barrel

    def with_pileup(self, pileup: float) -> Study:
        """The same study with another mean number of additional collisions."""
        samples = tuple(sample.with_pileup(pileup) for sample in self.samples)
        return dataclasses.replace(self, samples=samples)

    def size(self, name: str) -> Size:
        """The size with the given name.

        Raises:
          StudyError: the size does not exist.
        """
        if name not in self.sizes:
            known = ", ".join(self.sizes) or "none"
            raise StudyError(f"The study {self.name!r} has no size {name!r}; its sizes are: {known}.")
        return self.sizes[name]

    def identity(self) -> dict:
        """The settings that determine the events, for JSON."""
        samples = [
            {name: value for name, value in dataclasses.asdict(sample).items() if name != "cost"}
            for sample in self.samples
        ]
        return {"samples": samples, "select": self.select.identity(), "endcaps": self.endcaps}
