"""The paper's tables with our results: finished trainings next to the paper's numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from e2e_jax.evaluation.published import NAMES, TABLES
from e2e_jax.evaluation.tables import CVM, Place, digits, floors, measured, metrics, value_at
from e2e_jax.files.atomic import write_whole
from e2e_jax.runs.folder import METRICS, members_of
from e2e_jax.study import Task

MARKDOWN, JSON = "tables.md", "tables.json"


class Row(NamedTuple):
    """A row of a table: the training of a classifier and its outcome.

    Attributes:
      table: a key of `published.TABLES`.
      config: config of the training.
      workdir: the run's folder.
      results: the content of results.json; None if the training is not finished.
      failure: reason of the failure, if any.
    """

    table: str
    config: ConfigDict
    workdir: Path
    results: Mapping | None = None
    failure: str = ""

    @property
    def name(self) -> str:
        """The paper's name of the classifier."""
        return NAMES.get(self.config.name, self.config.name)

    @property
    def paper(self) -> dict[Place, float]:
        """The paper's numbers; {} for a classifier that is not in the paper."""
        table = TABLES[self.table]
        return dict(zip(table.places, table.results.get(self.config.name, ())))

    @property
    def epochs(self) -> list[list[dict]]:
        """The finished epochs of each network."""
        folders = members_of(self.workdir, self.config) if self.config.seeds > 1 else [self.workdir]
        files = [folder / METRICS for folder in folders]
        return [
            list(map(json.loads, file.read_text().splitlines())) if file.exists() else [] for file in files
        ]

    @property
    def state(self) -> str:
        """The outcome of the training, in words."""
        if self.results:
            return "finished"
        if self.failure:
            return f"failed: {self.failure}"
        done = sum(map(len, self.epochs))
        return (
            f"not finished: {done} of {self.config.seeds * self.config.train.epochs} epochs"
            if done
            else "not trained"
        )


def write(workdir: Path, rows: Sequence[Row], size: str) -> list[Path]:
    """Writes tables.md and tables.json into a folder; returns the paths."""
    workdir.mkdir(parents=True, exist_ok=True)
    content = {"size": size, "rows": [as_json(row) for row in rows]}
    write_whole(workdir / MARKDOWN, markdown(rows, size))
    write_whole(workdir / JSON, json.dumps(content, indent=2) + "\n")
    return [workdir / MARKDOWN, workdir / JSON]


def as_json(row: Row) -> dict:
    """A row of a table for JSON; with several seeds "metrics" holds the mean and the spread."""
    config = row.config
    entry = {
        "table": row.table,
        "classifier": config.name,
        "size": config.size,
        "state": row.state,
        "workdir": str(row.workdir),
        "seeds": [config.seed + number for number in range(config.seeds)],
        "paper": {"/".join(place): number for place, number in row.paper.items()},
    }
    if not row.results:
        return entry
    shown = {place: measured(row.results, place) for place in _places(row)}
    for name, which in {"metrics": 0, **({"ensemble": 1} if config.seeds > 1 else {})}.items():
        entry[name] = {
            "/".join(place): dict(zip(("value", "uncertainty"), pairs[which]))
            for place, pairs in shown.items()
        }
    made = row.results["provenance"]
    return entry | {
        "cvm_floor": value_at(row.results, (CVM,)).get("floor"),
        "events": row.results["events"],
        "dataset": {
            name: row.results["dataset"].get(name) for name in ("name", "version", "fingerprint", "origin")
        },
        "epochs": [len(epochs) for epochs in row.epochs],
        "seconds": seconds(row),
        "machine": {name: made[name] for name in ("processor", "device", "platform")},
        "commit": made["commit"],
        "time": made["time"],
    }


def seconds(row: Row) -> float:
    """Time of the training with validation, summed over its networks."""
    return round(sum(epoch["seconds"] for epochs in row.epochs for epoch in epochs), 1)


def markdown(rows: Sequence[Row], size: str) -> str:
    """The tables in GitHub's Markdown."""
    parts = [f"# The paper's tables at the size {size}"]
    for table in dict.fromkeys(row.table for row in rows):
        parts += [f"## {TABLES[table].title}", _table([row for row in rows if row.table == table])]
    parts.append(" ".join(_notes(rows)))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    places = list(dict.fromkeys(place for row in rows for place in (*row.paper, *_places(row))))
    names: dict[Place, str] = {}
    for row in rows:
        if row.results:
            names |= metrics(Task(**row.results["task"]), row.results)
    head = [names.get(place, " ".join(place).replace("_", " ")) for place in places]
    lines = [["classifier", "", *head, "CVM floor", "training events", "epochs", "time", "machine"]]
    for row in rows:
        if row.paper:
            lines.append([f"**{row.name}**", "paper", *(_number(row.paper.get(place)) for place in places)])
        lines += _ours(row, places)
    width = len(lines[0])
    text = ["| " + " | ".join([*line, *[""] * (width - len(line))]) + " |" for line in lines]
    return "\n".join([text[0], "|---|---|" + "---:|" * (width - 2), *text[1:]])


def _ours(row: Row, places: Sequence[Place]) -> list[list[str]]:
    """The lines of a training: its results, with several seeds also those of the ensemble; or its state."""
    name = "" if row.paper else f"**{row.name}**"
    if not row.results:
        return [[name, row.state.replace("|", "\\|")]]
    several = row.config.seeds > 1
    made, lines = row.results["provenance"], []
    for number, which in enumerate(
        [f"mean of {row.config.seeds} seeds", "ensemble"] if several else ["here"]
    ):
        cells = [_cell(row.results, place, number) for place in places]
        lines.append([name if number == 0 else "", which, *cells])
    epochs = ", ".join(str(len(epochs)) for epochs in row.epochs)
    device = made["device"]
    floor = floors(Task(**row.results["task"]), row.results).get("CVM", "–")
    lines[0] += [floor, f"{row.results['events']['train']:,}", epochs]
    lines[0] += [f"{seconds(row) / 60:.1f} min", f"{made['processor']}, {device['count']} x {device['kind']}"]
    return lines


def _cell(results: Mapping, place: Place, which: int) -> str:
    if not value_at(results, place):
        return "–"
    value, uncertainty = measured(results, place)[which]
    return f"{value:.{digits(place)}f} ± {uncertainty:.{digits(place)}f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _places(row: Row) -> list[Place]:
    """The metrics of the row's table that are in its results."""
    if not row.results:
        return []
    return [place for place in TABLES[row.table].places if value_at(row.results, place)]


def _notes(rows: Sequence[Row]) -> list[str]:
    """Sentences that explain the numbers."""
    said = ["Uncertainties are statistical, from the bootstrap."]
    if any(row.config.seeds > 1 for row in rows):
        said.append("That of a mean over seeds is the standard deviation over the seeds.")
    said.append("The CVM floor is the mean CVM of an independent score on as many events.")
    said.append("Time is that of the training epochs with their validation.")
    said += sorted({f"Events: {row.results['dataset'].get('origin')}." for row in rows if row.results})
    if unfinished := [f"{row.name} ({TABLES[row.table].title})" for row in rows if not row.results]:
        said.append(f"Not finished: {'; '.join(unfinished)}.")
    return said
