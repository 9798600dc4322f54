import re

import pytest

from e2e_jax.report import tables
from e2e_jax.report.runs import read_runs
from tests.report.evaluated_run import BINARY, write_run


def runs(folder, *made):
    """Runs made by keyword arguments of `write_run`."""
    for number, options in enumerate(made):
        write_run(folder / f"run{number}", **options)
    return read_runs([folder / f"run{number}" for number in range(len(made))])


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    return runs(tmp_path_factory.mktemp("runs"), {"name": "four_momentum"}, {"name": "eb"}, {"name": "cms_b"})


def test_the_table_is_laid_out_as_the_papers(central):
    (table,) = tables.tables(central)
    assert "Table 6" in table.title
    assert table.columns == ["4-mom", "EB", "CMS-B"]
    # No background passes the cut of 1/JSD and R50.
    assert list(table.rows) == [
        *("H vs rest", "γγ vs rest", "γ+jet vs rest"),
        *("H vs γγ", "H vs γ+jet", "CVM", "R90"),
    ]
    cell = table.rows["γ+jet vs rest"][2]
    value = central[2].results["auc_vs_rest"]["gamma_jet"]["value"]
    assert cell.value == f"{value:.3f}"
    assert cell.paper == "0.959"
    assert cell.difference.replace("−", "-") == f"{value - 0.959:+.3f}"
    assert [c.paper for c in table.rows["CVM"]] == ["0.002"] * 3


def test_published_tables_stay_apart(tmp_path):
    forward = {"name": "cms_i", "published": "table_7"}
    central, other = tables.tables(runs(tmp_path, {"name": "cms_b"}, forward))
    assert (central.columns, "Table 7" in other.title) == (["CMS-B"], True)
    assert other.rows["H vs rest"][0].paper == "0.833"


def test_other_validation_events_are_said(tmp_path):
    (table,) = tables.tables(runs(tmp_path, {"name": "cms_b"}, {"name": "eb", "per_class": 100}))
    assert table.columns == ["CMS-B", "EB†"]
    assert any("Not the same validation events as CMS-B" in note for note in table.notes)
    for text in (tables.markdown([table]), tables.html([table])):
        assert "EB†" in text
        assert "† Not the same" in text
    assert r"EB$^\dagger$" in tables.latex([table])


def test_the_same_events_are_not_marked(central):
    assert "†" not in tables.markdown(tables.tables(central))


def test_a_classifier_without_a_class_or_a_paper_has_gaps(tmp_path):
    binary = {"name": "mine", "classes": BINARY}
    (table,) = tables.tables(runs(tmp_path, {"name": "cms_b"}, binary))
    assert table.rows["γγ vs rest"][1] is None
    assert table.rows["background vs rest"][0] is None
    assert table.rows["H vs rest"][1].paper == ""
    row = next(line for line in tables.markdown([table]).splitlines() if line.startswith("| γγ vs rest"))
    assert row.endswith("| – |"), "a classifier that the paper does not have takes one column"
    assert "--" in tables.latex([table])


def test_every_row_has_a_field_for_every_column(central):
    made = tables.tables(central)
    lines = [line for line in tables.markdown(made).splitlines() if line.startswith("|")]
    # Each of three classifiers has columns for the paper's values and the differences.
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {11}
    rows = [line for line in tables.latex(made).splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {9}
    html = tables.html(made)
    assert html.count("<td>") == 9 * len(made[0].rows)
    assert html.count('<td colspan="3">') == 3 * len(made[0].facts)


def test_latex_is_escaped_and_balanced(tmp_path):
    (tmp_path / "a_b").mkdir()
    text = tables.latex(tables.tables(runs(tmp_path, {"name": "my_net"})))
    assert r"my\_net" in text
    assert r"cms\_hgg/quick" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert text.count("{") == text.count("}")
    assert not re.search(r"[^\x00-\x7f]", text), "pdflatex sets ASCII in every font"


def test_names_cannot_break_the_page(tmp_path):
    text = tables.html(tables.tables(runs(tmp_path, {"name": "<script>alert(1)</script>"})))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


STRANGE = "a_b|*c* `d` <e> [f](g) $h$ & i^j~k \\l #m %n {o} _p_"


def test_names_are_literal_in_markdown(tmp_path):
    """Each character of markup is escaped, and a row keeps its fields."""
    text = tables.markdown(tables.tables(runs(tmp_path, {"name": STRANGE})))
    header = next(line for line in text.splitlines() if line.startswith("| "))
    assert len(re.findall(r"(?<!\\)\|", header)) == 3
    assert not re.search(r"(?<!\\)[`*<>\[\]~$&#]", header)
    assert r"\_p\_" in header
    assert "a_b" in header, "an underscore inside a word is no markup"


def test_names_are_literal_in_latex(tmp_path):
    text = tables.latex(tables.tables(runs(tmp_path, {"name": STRANGE})))
    header = text.splitlines()[text.splitlines().index(r"    \toprule") + 1]
    for made in (
        *(r"a\_b", r"\textbar{}", r"\textless{}e\textgreater{}", r"\$h\$", r"\& i\textasciicircum{}j"),
        *(r"\textasciitilde{}k", r"\textbackslash{}l", r"\#m", r"\%n", r"\{o\}", r"\_p\_"),
    ):
        assert made in header
    assert len(re.findall(r"(?<!\\)&", header)) == 1


def test_a_name_on_several_lines_stays_in_its_row():
    table = tables.Table("t", ["a\nb"], {}, {}, [], {})
    assert "a b" in tables.markdown([table])
    assert "a b" in tables.latex([table])
