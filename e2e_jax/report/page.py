"""The report page: one file, usable offline, on a phone, and in light and dark mode."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from e2e_jax.evaluation.published import paper_row
from e2e_jax.evaluation.tables import floors
from e2e_jax.report import roc, tables
from e2e_jax.report.pictures import DARK, Picture
from e2e_jax.report.runs import Run
from e2e_jax.study import Task

HERE = Path(__file__).parent
WITHOUT_EPOCHS = "The run's folder has no metrics.jsonl, so there are no training curves."


def page(
    runs: Sequence[Run],
    made: Sequence[tables.Table],
    curves: Sequence[Picture],
    targets: Sequence[Picture],
    maps: Sequence[Picture],
    displays: Sequence[Picture],
    checks: Sequence[Picture],
    absent: str = "",
) -> str:
    """The content of report.html.

    Args:
      runs: the report's run, then the compared runs.
      made: the tables.
      curves, targets, maps, displays, checks: written pictures: ROC curves, predicted against true values,
        the score against the observable, events, and training curves and all others.
      absent: the reason for missing events; "" otherwise.
    """
    from plotly.offline import get_plotlyjs

    sections = [
        ("results", "Results", curves or targets, ""),
        *([("regression", "Predictions", targets, "")] if curves and targets else []),
        *([("decorrelation", "Decorrelation", maps, "")] if maps else []),
        ("events", "Events", displays, absent),
        (
            "training",
            "Training and calibration" if curves else "Training",
            checks,
            "" if runs[0].history else WITHOUT_EPOCHS,
        ),
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        run=runs[0],
        others=runs[1:],
        learnt=_learnt(runs[0].task),
        headlines=made[0].headlines.items(),
        floor=floors(runs[0].task, runs[0].results).get("CVM", ""),
        tables=Markup(tables.html(made)),
        exports={"Markdown": tables.markdown(made), "LaTeX": tables.latex(made)},
        sections=sections,
        plots={p.name: _script(p.interactive) for *_, ps, _ in sections for p in ps if p.interactive},
        published=any(paper_row(run.results) for run in runs),
        provenance=[(run.name, provenance(run)) for run in runs],
        config=json.dumps(runs[0].results["config"], indent=2),
        written=datetime.now(UTC).isoformat(timespec="minutes"),
        version=importlib.metadata.version("e2e_jax"),
        style=Markup((HERE / "page.css").read_text()),
        program=Markup((HERE / "page.js").read_text()),
        plotly=Markup(get_plotlyjs()),
        dark=_script(json.dumps(DARK)),
    )


def provenance(run: Run) -> dict[str, str]:
    """Provenance of a run's results, name -> text."""
    made, dataset = run.results["provenance"], run.dataset
    packages = made.get("packages", {})
    device = made.get("device", {})
    facts = {
        "Folder": str(run.folder),
        "Evaluated": made.get("time"),
        "Commit": made.get("commit") or "not known",
        "Epoch chosen by": run.results.get("epoch_selection"),
        "Dataset": f"{dataset.get('name', '?')} {dataset.get('version', '')}",
        "Dataset's fingerprint": dataset.get("fingerprint"),
        "Origin of the events": run.origin,
        "Dataset made with": _listed(dataset.get("versions", {})),
        "Seeds": f"training {made.get('seed')}, dataset {dataset.get('seed', 'not known')}",
        "Device": f"{device.get('count', '?')} x {device.get('kind', '?')}",
        "Software": _listed({"Python": made.get("python", "?"), **packages}),
        "Platform": made.get("platform"),
    }
    return {name: str(text) for name, text in facts.items() if text}


def _learnt(task: Task) -> str:
    """Description of the task: "Predicts the diphoton mass; H against γγ"."""
    said = []
    if task.targets:
        said.append(f"Predicts the {' and '.join(task.target(name).phrase for name in task.targets)}")
    if task.classifies:
        said.append(roc.against_rest(task))
    return "; ".join(said)


def _listed(versions: dict) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _script(text: str) -> Markup:
    """JSON, escaped for use inside a script element."""
    return Markup(text.replace("<", "\\u003c"))
