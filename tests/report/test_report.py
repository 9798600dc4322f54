import os
import re

import pytest

from e2e_jax import report
from e2e_jax.errors import WorkdirError
from e2e_jax.report import decorrelation, events, page, quality, roc
from e2e_jax.runs.folder import LOCK, owned
from tests.report.evaluated_run import write_run
from tests.report.test_events import serve

pytestmark = pytest.mark.slow

LARGEST = 15e6


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a run with a report that shows another next to it."""
    folder = tmp_path_factory.mktemp("runs")
    sample = write_run(folder / "a")
    write_run(folder / "b", "eb_mass_aware", mass_aware=True)
    with pytest.MonkeyPatch.context() as patch:
        serve(patch, sample)
        path = report.write_report(folder / "a", [folder / "b"])
    assert path == folder / "a" / "report.html"
    return folder / "a"


def draw_only(monkeypatch, *kept):
    """Lets a report hold the pictures of some modules only, and no events: the others take their time."""
    for module in {roc, decorrelation, quality} - set(kept):
        monkeypatch.setattr(module, "pictures", lambda runs: [])

    def absent(*arguments, **options):
        raise ValueError("no <b>such</b> dataset")

    monkeypatch.setattr(events, "read_events", absent)


def test_every_figure_is_there_as_png_and_pdf_and_in_the_page(written):
    names = {path.stem for path in (written / "figures").iterdir()}
    assert {path.name for path in (written / "figures").iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("png", "pdf")
    }
    expected = {"training", "confusion", "calibration", "event_most_mistaken", "event_most_h_like"}
    expected |= {"roc_h_vs_rest", "roc_h_vs_gamma_gamma", "roc_h_vs_gamma_jet", "score_mass_gamma_gamma"}
    expected |= {"score_mass_gamma_jet_2", "mass_spectrum_gamma_gamma", "mass_spectrum_gamma_jet_2"}
    assert expected <= names
    text = (written / "report.html").read_text()
    assert set(re.findall(r'<figure id="(\w+)"', text)) == names


def test_tables_are_there_in_three_forms(written):
    assert {path.name for path in (written / "tables").iterdir()} == {
        "results.md",
        "results.tex",
        "results.html",
    }
    assert "EB mass-aware" in (written / "tables" / "results.md").read_text()


def test_the_page_needs_nothing_but_itself(written):
    text = (written / "report.html").read_text()
    assert (written / "report.html").stat().st_size < LARGEST
    without_programs = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href|srcset)\s*=\s*["'](?!data:|#)""", without_programs)
    assert not re.search(r"@import|url\(", without_programs)
    assert "fast simulation" in without_programs
    assert "arXiv:1807.11916" in without_programs


def test_the_same_run_gives_the_same_figures(written, tmp_path, monkeypatch):
    write_run(tmp_path / "a")
    draw_only(monkeypatch, quality)
    report.write_report(tmp_path / "a")
    for name in ("confusion.png", "confusion.pdf", "training.png"):
        assert (tmp_path / "a" / "figures" / name).read_bytes() == (written / "figures" / name).read_bytes()


def test_without_the_dataset_the_report_says_so_and_has_the_rest(tmp_path, monkeypatch):
    write_run(tmp_path)
    draw_only(monkeypatch, roc)
    text = report.write_report(tmp_path).read_text()
    assert "so no events are shown: no &lt;b&gt;such" in text
    assert 'id="event_' not in text
    assert 'id="roc_vs_rest"' in text


def test_a_report_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write_run(tmp_path)
    (tmp_path / "report.html").write_text("before")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "roc_vs_rest.png").write_text("before")
    before = sorted(path.name for path in tmp_path.iterdir())
    draw_only(monkeypatch)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page, "page", full)
    with pytest.raises(WorkdirError, match="No space left on device"):
        report.write_report(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != LOCK) == before
    assert (tmp_path / "report.html").read_text() == "before"
    assert (tmp_path / "figures" / "roc_vs_rest.png").read_text() == "before"


def test_two_reports_at_once_are_not_mixed(tmp_path):
    write_run(tmp_path)
    with (
        owned(tmp_path),
        pytest.raises(WorkdirError, match=rf"Process {os.getpid()} on .* Wait until it ends"),
    ):
        report.write_report(tmp_path)


def test_a_new_report_takes_the_place_of_the_old(tmp_path, monkeypatch):
    write_run(tmp_path)
    draw_only(monkeypatch)
    (tmp_path / "report.html").write_text("before")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "of_an_earlier_report.png").write_text("before")
    (tmp_path / ".report-killed").mkdir()
    report.write_report(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.json", "results.json", "scores.parquet", "metrics.jsonl"),
        *("report.html", "figures", "tables", LOCK),
    }
    assert not (tmp_path / "figures" / "of_an_earlier_report.png").exists()
    assert "before" not in (tmp_path / "report.html").read_text()[:200]
