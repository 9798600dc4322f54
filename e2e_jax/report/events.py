"""Displays of example events: selected by their scores, read from the dataset, and drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from e2e_jax.display import interactive
from e2e_jax.display.figure import event_figure
from e2e_jax.display.reading import read_events
from e2e_jax.events.base import Record
from e2e_jax.events.jets import Jets
from e2e_jax.events.showers import Showers
from e2e_jax.report.jet_figure import draw_jet
from e2e_jax.report.pictures import Picture
from e2e_jax.report.runs import Run
from e2e_jax.report.scored import Scored
from e2e_jax.report.shower_figure import draw_shower


class Chosen(NamedTuple):
    """An event to show: its index in the scores, the name of its files, its heading, and the reason."""

    row: int
    name: str
    title: str
    caption: str


class NotFound(Exception):
    """The events cannot be shown; the message gives the reason."""


def choose(scored: Scored) -> list[Chosen]:
    """The most signal-like signal event, the most typical event of each other label, and the worst event.

    The worst event has the lowest probability of its true class. Without classes, see `_by_errors`.
    """
    if not scored.task.classifies:
        return _by_errors(scored)
    targets = scored.targets
    kept = np.flatnonzero(targets >= 0)
    own = np.full(len(targets), np.nan)
    own[kept] = scored.probabilities[kept, targets[kept]]
    mistaken = int(kept[np.argmin(own[kept])])
    task, chosen = scored.task, []
    taken_for = task.names[int(scored.probabilities[mistaken].argmax())]
    signal = task.title(task.signal)
    shown = {f"{task.signal}_like": (scored.is_signal, f"{signal}-like {signal}")}
    shown |= {
        f"typical_{label}": (scored.of(label), f"typical {task.title(label)}") for label in task.backgrounds
    }
    for name, (having, words) in shown.items():
        rows = np.flatnonzero(having)
        best = int(rows[np.argmax(own[rows])])
        chosen.append(Chosen(best, f"event_most_{name}", f"The most {words} event", _scores(scored, best)))
    true = task.title(task.labels[int(scored.labels[mistaken])])
    title = f"The most mistaken: {true} taken for {task.title(taken_for)}"
    return [*chosen, Chosen(mistaken, "event_most_mistaken", title, _scores(scored, mistaken))]


def _by_errors(scored: Scored) -> list[Chosen]:
    """The events with the smallest, the median and the largest error of the first target."""
    target = scored.task.targets[0]
    found = scored.regressed[target]
    order = np.argsort(abs(found.predicted - found.truth), kind="stable")
    rows = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    title = f"error of {scored.task.target(target).phrase}"
    return [
        Chosen(int(row), f"event_{name}_error", f"The {name} {title}", _scores(scored, int(row)))
        for name, row in rows.items()
    ]


def find(run: Run, chosen: list[Chosen]) -> tuple[Record, str]:
    """Reads the chosen events from the run's dataset, by run, lumi and event number.

    Returns:
      The events in the order of `chosen`, and their origin.

    Raises:
      NotFound: the dataset is missing or damaged, or does not contain the events.
    """
    name, data_dir = run.config.dataset.name, run.config.dataset.data_dir
    rows = [one.row for one in chosen]
    try:
        # The scores are in the order of the dataset, unless they were sorted or the dataset was rebuilt.
        events, origin, _ = read_events(name, rows, "validation", data_dir=data_dir)
        if not _are(run, rows, events):
            everything, *_ = read_events(name, range(len(run.address)), "validation", data_dir=data_dir)
            places = {key: place for place, key in enumerate(_keys(everything))}
            wanted = [places.get((*run.address[row], run.scored.labels[row])) for row in rows]
            if None in wanted:
                raise NotFound(
                    f"The dataset {name} here does not hold event {_address(run, rows[wanted.index(None)])}: "
                    "it is another build than the run was evaluated on, so no events are shown."
                )
            events = everything[wanted]
    except (ValueError, OSError, ImportError) as error:
        raise NotFound(f"The run's dataset cannot be read, so no events are shown: {error}") from error
    return events, origin


def pictures(run: Run) -> list[Picture]:
    """The event displays of a run.

    Raises:
      NotFound: as `find`.
    """
    chosen = choose(run.scored)
    events, origin = find(run, chosen)
    if isinstance(events, Showers):
        view = run.config.inputs.geometry
        drawn = [draw_shower(events, index, view, origin) for index in range(len(chosen))]
        return [Picture(*one[1:], figure, themed=False) for one, figure in zip(chosen, drawn)]
    if isinstance(events, Jets):
        drawn = [draw_jet(events, index, origin) for index in range(len(chosen))]
        return [Picture(*one[1:], figure, themed=False) for one, figure in zip(chosen, drawn)]
    geometry = run.config.inputs.geometry
    geometry = geometry if run.config.inputs.kind in ("images", "tokens") else "barrel"
    return [
        Picture(
            one.name,
            one.title,
            one.caption,
            event_figure(events, index, geometry, origin, run.task),
            interactive.plane(events, index).to_json(),
            themed=False,
        )
        for index, one in enumerate(chosen)
    ]


def _scores(scored: Scored, row: int) -> str:
    task, names = scored.task, zip(scored.task.names, scored.probabilities[row])
    parts = [f"P({task.title(name)}) = {value:.3f}" for name, value in names]
    for name, found in scored.regressed.items():
        unit = f" {task.target(name).unit}".rstrip()
        parts.append(f"{name} predicted {found.predicted[row]:.3g}{unit}, true {found.truth[row]:.3g}{unit}")
    return ", ".join(parts) + "."


def _keys(events: Record) -> Iterable[tuple]:
    return zip(*(getattr(events, name).tolist() for name in ("run", "lumi", "event", "label")))


def _are(run: Run, rows: list[int], events: Record) -> bool:
    wanted = [(*run.address[row].tolist(), int(run.scored.labels[row])) for row in rows]
    return wanted == list(_keys(events))


def _address(run: Run, row: int) -> str:
    return ":".join(str(number) for number in run.address[row])
