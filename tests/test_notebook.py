"""The notebook runs from top to bottom on the checkpoint that is kept with the code, and is stored empty."""

import os
import re
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pytest

from e2e_jax.events.diphotons import Events
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.release import LARGEST, read_events
from e2e_jax.studies.hgg import LABELS
from tests.synthetic import sample

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "restore_checkpoint.ipynb"
RELEASE = ROOT / "release" / "cms_b"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_outputs_are_stripped(notebook):
    nbformat.validate(notebook)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))
    assert set(notebook.metadata) == {"kernelspec", "language_info", "colab"}
    assert b"/work" not in NOTEBOOK.read_bytes()


def test_the_address_is_that_of_the_project(notebook):
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    (address,) = re.findall(r'^ADDRESS = "(.*?)"', code(notebook)[0].source, re.MULTILINE)
    assert address == urls.get("Repository", "")


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(notebook, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)}
    # The tests draw to nowhere; a notebook draws into itself.
    environment.pop("MPLBACKEND", None)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute(env=environment)
    printed = "".join(out.get("text", "") for cell in code(notebook) for out in cell.outputs)
    assert "'gamma_gamma', 'h', 'gamma_jet'" in printed
    assert re.search(r"eb +\d{2,} hits, largest \|dP\(H\)/dE\| 0*\.?\d*[1-9]", printed)
    if folder := os.environ.get("NOTEBOOK_ARTEFACTS"):
        nbformat.write(notebook, Path(folder) / NOTEBOOK.name)
    pictures = [out for cell in code(notebook) for out in cell.outputs if "image/png" in out.get("data", {})]
    assert len(pictures) == 2


def test_new_collisions_can_stand_for_the_kept_ones(notebook, monkeypatch):
    simulate = pytest.importorskip("e2e_jax.sources.simulation.simulate")

    def produce(job):
        events = sample(per_class=job.events)
        return events[events.label == job.label]

    monkeypatch.setattr(simulate, "produce", produce)
    (cell,) = [cell for cell in code(notebook) if "if SIMULATE:" in cell.source]
    names = {"SIMULATE": True, "np": np, "classifier": load_classifier("cms_b")}
    exec(cell.source, names)
    assert isinstance(names["events"], Events)
    assert set(names["events"].label) == set(range(len(LABELS)))


@pytest.mark.slow
def test_the_release_is_what_it_was():
    """The committed classifier still gives its events the probabilities that it gave them when released."""
    events, probabilities = read_events(RELEASE)
    assert np.bincount(events.label, minlength=len(LABELS)).min() >= 20
    few = np.arange(len(events))[:: len(events) // 12]
    np.testing.assert_allclose(load_classifier(RELEASE).predict(events[few]), probabilities[few], atol=1e-4)


def test_the_release_is_small_and_from_nowhere():
    files = [path for path in RELEASE.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if RELEASE in path.parents) <= LARGEST
    assert not [path for path in files if re.search(rb"/(home|root|work|tmp|Users)/", path.read_bytes())]
