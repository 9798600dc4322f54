"""Selections: the events that a study keeps, and their observables."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from e2e_jax.detector import geometry
from e2e_jax.errors import StudyError
from e2e_jax.events.diphotons import Events, leading
from e2e_jax.files import code
from e2e_jax.study.observables import Observable


class Selected(NamedTuple):
    """The result of a selection of n events.

    Attributes:
      mask: bool `[n]`, whether an event is kept.
      observables: name -> number per event `[n]`; the values of events that are not kept are ignored.
      cuts: name of a cut -> bool `[n]`, in order; used in the message about a selection that keeps nothing.
    """

    mask: np.ndarray
    observables: Mapping[str, np.ndarray] = {}
    cuts: Mapping[str, np.ndarray] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """A function of events and its properties.

    The function gets `Events` after simulation or reading: all reconstructed photons (leading first), the
    hits of ECAL and HCAL, the tracks, and no observables. The number of events can be 0.

    Attributes:
      function: `Events -> Selected`.
      observables: the observables that the function returns.
      photons_only: the function reads addresses and photons only. AODSIM files are then read faster.
      barrel: the selection ignores photons and hits outside the barrel. Only the barrel is then simulated.
      settings: identity of the function; by default the code of its file.
      events: the kind of the selected events, a key of `events.kinds.KINDS`.
    """

    function: Callable[[Events], Selected]
    observables: tuple[Observable, ...] = ()
    photons_only: bool = False
    barrel: bool = False
    settings: Mapping | None = None
    events: str = "collisions"

    def __post_init__(self):
        object.__setattr__(self, "observables", tuple(self.observables))
        if self.settings is None:
            known = {"function": _name(self.function), "code": code.digest_of_module(self.function)}
            object.__setattr__(self, "settings", known)
        for observable in self.observables:
            if not observable.name.isidentifier() or observable.name in RESERVED:
                raise StudyError(
                    f"An observable cannot be named {observable.name!r}: it is no identifier, or one of the "
                    f"columns that all events have ({', '.join(sorted(RESERVED))})."
                )

    @classmethod
    def of(cls, function: Callable[[Events], Selected] | Selection) -> Selection:
        """The selection of a plain function. A call with 0 events determines its observables.

        Raises:
          StudyError: the function fails.
        """
        if isinstance(function, Selection):
            return function
        try:
            selected = function(Events.empty())
        except Exception as error:  # the user's code may raise anything
            raise StudyError(
                f"The selection {_name(function)} cannot be called with 0 events, which tells its "
                f"observables ({type(error).__name__}: {error}). Make it work, or give them: "
                'select=Selection(function, observables=[Observable("sum_et", "GeV")]).'
            ) from error
        return cls(function, tuple(Observable(name) for name in selected.observables))

    def __call__(self, events: Events) -> Selected:
        """Apply the selection and check its result.

        Raises:
          StudyError: the function fails, or returns wrong observables or shapes.
        """
        name = _name(self.function)
        try:
            selected = self.function(events)
        except Exception as error:  # the user's code may raise anything
            why = f"{type(error).__name__}: {error}"
            raise StudyError(f"The selection {name} failed: {why}.") from error
        if not isinstance(selected, Selected):
            raise StudyError(
                f"The selection {name} gives {type(selected).__name__}; it must give "
                "e2e_jax.study.Selected(mask, observables)."
            )
        mask = np.asarray(selected.mask)
        if mask.shape != (len(events),) or mask.dtype != bool:
            raise StudyError(
                f"The selection {name} gives a mask {mask.dtype}{list(mask.shape)} for {len(events)} events; "
                f"it must be bool[{len(events)}]."
            )
        columns = {}
        for observable in self.observables:
            if observable.name not in selected.observables:
                given = ", ".join(selected.observables) or "none"
                raise StudyError(
                    f"The selection {name} lacks the observable {observable.name!r}; it gives {given}."
                )
            values = np.asarray(selected.observables[observable.name], np.float32)
            if values.shape != (len(events),):
                raise StudyError(
                    f"The selection {name} gives the observable {observable.name!r} with the shape "
                    f"{values.shape} for {len(events)} events; it must have one number per event."
                )
            columns[observable.name] = values
        return Selected(mask, columns, selected.cuts)

    def __reduce__(self):
        # Functions of study files and notebooks are sent as code, so that workers need no copy of the file.
        import cloudpickle

        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _restore, (cloudpickle.dumps(fields),)

    def identity(self) -> dict:
        """The identity of the selection, for JSON."""
        observables = [dataclasses.asdict(observable) for observable in self.observables]
        return {**self.settings, "observables": observables}

    @functools.cached_property
    def _key(self) -> str:
        return json.dumps(self.identity(), sort_keys=True)

    def __eq__(self, other) -> bool:
        return isinstance(other, Selection) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


LEAST_MASS = 1.0
"""GeV. Two photons above 20 GeV with a smaller mass are closer than 0.05 rad, about three crystals of the
barrel, and form one cluster."""

RESERVED = {field.name for field in dataclasses.fields(Events)} | {"detector"}
"""Names that an observable cannot have."""


def _restore(content: bytes) -> Selection:
    import cloudpickle

    return Selection(**cloudpickle.loads(content))


def _name(function: Callable) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def keep_all(events: Events) -> Selected:
    """Keep every event."""
    return Selected(np.ones(len(events), bool))


EVERYTHING = Selection(keep_all, photons_only=True, settings={"selection": "everything"})
"""Keeps every event, without observables."""


class CutCounts:
    """The number of events left after each cut, summed over batches."""

    def __init__(self):
        self.seen, self.left, self._after = 0, 0, {}

    def add(self, selected: Selected) -> None:
        """Add the events of a batch."""
        self.seen += len(selected.mask)
        self.left += int(np.sum(selected.mask))
        passed = np.ones(len(selected.mask), bool)
        for name, cut in selected.cuts.items():
            passed = passed & cut
            self._after[name] = self._after.get(name, 0) + int(passed.sum())

    def __str__(self) -> str:
        counts = {"all": self.seen, **self._after, "kept": self.left}
        return ", ".join(f"{name}: {number}" for name, number in counts.items())


def invariant_mass(photons: np.ndarray) -> np.ndarray:
    """Mass of massless particles: m^2 = sum over pairs of 2 pt1 pt2 (cosh(eta1 - eta2) - cos(phi1 - phi2)).

    Args:
      photons: `[..., k, 3]`, (pt in GeV, eta, phi) of each photon.

    Returns:
      float64 `[...]`, the mass in GeV.
    """
    pt, eta, phi = np.moveaxis(np.asarray(photons, np.float64), -1, 0)
    square = np.zeros(pt.shape[:-1])
    for first in range(pt.shape[-1]):
        for second in range(first + 1, pt.shape[-1]):
            opening = np.cosh(eta[..., first] - eta[..., second]) - np.cos(phi[..., first] - phi[..., second])
            square += 2 * pt[..., first] * pt[..., second] * np.maximum(opening, 0.0)
    return np.sqrt(square)


@dataclasses.dataclass(frozen=True)
class Photons:
    """The function of `photons`: exactly `count` photons above `pt`, all in `eta`, with a mass in range.

    Attributes:
      count, pt: as in `photons`.
      eta: intervals of abs(eta), upper edges excluded.
      mass: open interval in GeV; None for no cut.
    """

    count: int
    pt: float
    eta: tuple[tuple[float, float], ...]
    mass: tuple[float, float] | None

    def fiducial(self, eta: np.ndarray) -> np.ndarray:
        """Whether photons with these pseudorapidities are accepted."""
        eta = np.abs(eta)
        return np.logical_or.reduce([(eta >= low) & (eta < high) for low, high in self.eta])

    def __call__(self, events: Events) -> Selected:
        """Apply the cuts."""
        found = events.photons
        first = leading(found, self.count)
        cuts = {
            f"{self.count} photons above {self.pt:g} GeV": found.filter(found.pt > self.pt).counts
            == self.count,
            "abs(eta) of each": self.fiducial(first[..., 1]).all(axis=1),
        }
        observables = {}
        if self.count > 1:
            there = found.counts >= self.count
            mass = np.where(there, invariant_mass(first), 0.0).astype(np.float32)
            observables["mass"] = mass
            if self.mass is not None:
                cuts["mass"] = (mass > self.mass[0]) & (mass < self.mass[1])
        return Selected(np.logical_and.reduce(list(cuts.values())), observables, cuts)


def photons(
    count: int = 2,
    pt: float = 20.0,
    abs_eta: float | Sequence[tuple[float, float]] = 1.44,
    mass: tuple[float, float] | float | None = (90.0, math.inf),
) -> Selection:
    """The selection of events with exactly `count` photons. For two or more, their mass is an observable.

    Args:
      count: number of photons above `pt`.
      pt: minimum transverse momentum in GeV.
      abs_eta: maximum abs(eta) of these photons, or intervals of abs(eta).
      mass: range of their mass in GeV, or its lower end; None accepts every mass. Not used for one photon.

    Raises:
      StudyError: an argument is invalid.
    """
    intervals = ((0.0, float(abs_eta)),) if np.isscalar(abs_eta) else tuple(abs_eta)
    intervals = tuple((float(low), float(high)) for low, high in intervals)
    if mass is not None:
        mass = (float(mass), math.inf) if np.isscalar(mass) else (float(mass[0]), float(mass[1]))
    if count < 1 or not intervals or not all(0 <= low < high for low, high in intervals):
        raise StudyError(f"photons(count={count}, abs_eta={abs_eta}) selects no photon.")
    if mass is not None and not mass[0] < mass[1]:
        raise StudyError(f"photons(mass={mass}) has no mass between its ends.")
    function = Photons(count, float(pt), intervals, mass)
    title = "Diphoton mass" if count == 2 else f"Mass of the {count} photons"
    return Selection(
        function,
        (Observable("mass", "GeV", title, least=LEAST_MASS),) if count > 1 else (),
        photons_only=True,
        barrel=all(high <= geometry.EB_MAX_ETA for _, high in intervals),
        settings={"photons": {**dataclasses.asdict(function), "mass": mass and [str(end) for end in mass]}},
    )


def kept(events: Events, select: Selection) -> tuple[Events, Selected]:
    """The events that a selection keeps, with their observables, and the result for all events."""
    selected = select(events)
    return dataclasses.replace(events, observables=dict(selected.observables))[selected.mask], selected
