"""Tables of results: metrics in rows, classifiers in columns, with the paper's value and the difference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import jinja2

from e2e_jax.evaluation.published import TABLES, paper_row, table_of
from e2e_jax.evaluation.tables import Place, digits, floors, is_headline, metrics, notes, value_at
from e2e_jax.report.runs import Run

NOT_THE_SAME = "Not the same validation events as {first}: part of the difference is that of the samples."


class Cell(NamedTuple):
    """A result as printed: value and uncertainty, the paper's value, and the difference; "" for none."""

    value: str
    uncertainty: str
    paper: str
    difference: str

    @property
    def text(self) -> str:
        return f"{self.value} ± {self.uncertainty}"


class Table(NamedTuple):
    """The results of comparable runs: those of one published table or of one task.

    Attributes:
      title: title of the table.
      columns: the classifiers; marked with a dagger if the validation events differ.
      rows: metric -> a cell per column; None if a classifier does not have the metric.
      facts: properties of the runs, name -> a text per column.
      notes: sentences below the table.
      headlines: metric -> first column's cell, for the metrics shown first; areas are prefixed by AUC.
    """

    title: str
    columns: list[str]
    rows: dict[str, list[Cell | None]]
    facts: dict[str, list[str]]
    notes: list[str]
    headlines: dict[str, Cell]

    @property
    def compared(self) -> list[bool]:
        """Whether each classifier has columns with the paper's values and the differences."""
        columns = zip(*self.rows.values()) if self.rows else ([] for _ in self.columns)
        return [any(cell and cell.paper for cell in cells) for cells in columns]

    def heads(self) -> list[str]:
        """The heading of each column."""
        return self._beside(self.columns, ["paper", "difference"])

    def lines(self) -> dict[str, list[str]]:
        """All rows as texts, one per entry of `heads`."""
        made = {}
        for name, cells in self.rows.items():
            parts = [(cell.text, cell.paper, cell.difference) if cell else ("–", "", "") for cell in cells]
            wide = [part if known else part[:1] for part, known in zip(parts, self.compared)]
            made[name] = [text for part in wide for text in part]
        return made | {name: self._beside(texts, ["", ""]) for name, texts in self.facts.items()}

    def _beside(self, texts: Sequence[str], added: list[str]) -> list[str]:
        wide = [[text, *(added if known else [])] for text, known in zip(texts, self.compared)]
        return [text for part in wide for text in part]


def tables(runs: Sequence[Run]) -> list[Table]:
    """The tables of runs, in the order of the runs."""
    names = list(dict.fromkeys(run.table for run in runs))
    return [_table([run for run in runs if run.table == name], runs[0]) for name in names]


def _table(runs: list[Run], first: Run) -> Table:
    others = [not run.same_events(first) for run in runs]
    named: dict[Place, str] = {}
    for run in runs:
        named = metrics(run.task, run.results) | named
    order = sorted(named, key=lambda place: place[0] in ("cvm", "decorrelation", "r50", "r90"))
    rows = {named[place]: [_cell(run, place) for run in runs] for place in order}
    facts = {
        "Dataset": [
            f"{run.dataset.get('name', '?')} {run.dataset.get('version', '')}".strip() for run in runs
        ],
        "Fingerprint": [run.dataset.get("fingerprint", "?") for run in runs],
        "Events": [run.origin for run in runs],
        "Training events": [f"{run.results['events'].get('train') or 0:,}" for run in runs],
        "Validation events": [f"{len(run.scored.labels):,}" for run in runs],
        "Epoch": [str(run.results["epoch"]) for run in runs],
    }
    independent = [floors(run.task, run.results) for run in runs]
    for name in dict.fromkeys(name for of_run in independent for name in of_run):
        facts[f"{name} of an independent score"] = [of_run.get(name, "–") for of_run in independent]
    said = [" ".join([*notes(runs[0].task), "Uncertainties are statistical."])]
    if any(paper_row(run.results) for run in runs):
        said.append("Differences are ours minus the paper's (arXiv:1807.11916), which is of CMS Open Data.")
    if any(others):
        said.append("† " + NOT_THE_SAME.format(first=first.name))
    headlines = {}
    for place, cell in ((place, rows[named[place]][0]) for place in order):
        if cell and is_headline(place, runs[0].task):
            headlines[f"AUC {named[place]}" if place[0].startswith("auc") else named[place]] = cell
    table = table_of(runs[0].results)
    return Table(
        TABLES[table].title if table else "Results",
        [run.name + ("†" if other else "") for run, other in zip(runs, others)],
        rows,
        facts,
        said,
        headlines,
    )


def _cell(run: Run, place: Place) -> Cell | None:
    if not (found := value_at(run.results, place)):
        return None
    after, paper = digits(place), paper_row(run.results).get(place)
    return Cell(
        f"{found['value']:.{after}f}",
        f"{found['uncertainty']:.{after}f}",
        "" if paper is None else f"{paper:.3f}",
        "" if paper is None else f"{found['value'] - paper:+.{after}f}".replace("-", "−"),
    )


def markdown(made: Sequence[Table]) -> str:
    """The tables in GitHub's Markdown."""
    parts = []
    for table in made:
        heads = table.heads()
        lines = [f"**{_md(table.title)}**", "", _markdown_row(["", *heads]), "|---|" + "---:|" * len(heads)]
        lines += [_markdown_row([name, *texts]) for name, texts in table.lines().items()]
        lines += ["", *(f"{_md(note)}  " for note in table.notes)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(_md, texts)) + " |"


def _md(text: str) -> str:
    """Text with escaped Markdown markup; an underscore inside a word needs no escape."""
    text = re.sub(r"([\\`*\[\]<>|~$&#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    return " ".join(text.split())


def latex(made: Sequence[Table]) -> str:
    """The tables for LaTeX with the package booktabs."""
    parts = ["% \\usepackage{booktabs}"]
    for table in made:
        heads, facts = table.heads(), list(table.facts)
        lines = [r"\begin{table}", r"  \centering", rf"  \caption{{{_tex(table.title)}}}"]
        lines += [rf"  \begin{{tabular}}{{l{'r' * len(heads)}}}", r"    \toprule"]
        lines += [_tex_row(["", *heads]), r"    \midrule"]
        for name, texts in table.lines().items():
            lines += [r"    \midrule"] if facts[:1] == [name] else []
            lines.append(_tex_row([name, *texts]).replace("vs ", r"vs.\ "))
        lines += [r"    \bottomrule", r"  \end{tabular}", r"  \par\smallskip"]
        lines += [rf"  {{\footnotesize {_tex(note)}\par}}" for note in table.notes]
        parts.append("\n".join([*lines, r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _tex_row(texts: Sequence[str]) -> str:
    return "    " + " & ".join(map(_tex, texts)) + r" \\"


GREEK = {"γ": r"\gamma", "μ": r"\mu", "τ": r"\tau", "π": r"\pi", "η": r"\eta", "ν": r"\nu", "ψ": r"\psi"}
"""LaTeX commands of letters in particle names."""

TEX = str.maketrans(
    {
        **{character: "\\" + character for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "†": r"$^\dagger$",
        "→": r"$\to$",
        "±": r"$\pm$",
        **{letter: f"${name}$" for letter, name in GREEK.items()},
        "−": "$-$",
        "–": "--",
    }
)
"""LaTeX's special characters, and the non-ASCII characters in our texts."""


def _tex(text: str) -> str:
    """Text escaped for LaTeX, on one line."""
    return " ".join(text.translate(TEX).split())


HTML = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
{% for table in tables %}
<table class="results">
<caption>{{ table.title }}</caption>
<thead><tr><th></th>{% for name in table.heads() %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for metric, cells in table.rows.items() %}
<tr><th scope="row">{{ metric }}</th>
{% for cell in cells %}
<td>{% if cell %}{{ cell.value }} <small>± {{ cell.uncertainty }}</small>{% else %}–{% endif %}</td>
{% if table.compared[loop.index0] %}<td>{{ cell.paper }}</td><td>{{ cell.difference }}</td>{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody>
<tbody class="facts">
{% for name, texts in table.facts.items() %}
<tr><th scope="row">{{ name }}</th>
{% for text in texts %}
<td colspan="{{ 3 if table.compared[loop.index0] else 1 }}">{{ text }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% for note in table.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
{% endfor %}
""")


def html(made: Sequence[Table]) -> str:
    """The tables as HTML, with escaped texts."""
    return HTML.render(tables=made)
