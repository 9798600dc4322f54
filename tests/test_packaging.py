"""What an installation promises: a light core, one list of requirements, files read in one sitting."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from e2e_jax.commands import console

ROOT = Path(__file__).parents[1]
FOLDERS = ("e2e_jax", "configs", "data_builders", "tests", "benchmarks")
LONGEST_FILE = 350
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}

WITHOUT = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"{{name!r}} is not installed", name=name)

sys.meta_path.insert(0, NotInstalled())
import {modules}
"""
BEYOND_CORE = {
    *("tensorflow", "tensorflow_datasets", "array_record", "mlcroissant", "pythia8mc", "uproot"),
    *("awkward", "h5py", "pyarrow", "matplotlib", "mplhep", "plotly", "jinja2", "tensorboardX"),
    *("sklearn", "hep_ml", "torch", "onnx", "onnxruntime"),
    *("XRootD", "distributed", "dask"),
}
QUICKSTART = (
    *("e2e_jax.main", "e2e_jax.training.loop", "e2e_jax.sources.simulation.simulate"),
    *(f"e2e_jax.report.{name}" for name in ("decorrelation", "events", "page", "quality", "roc", "tables")),
    "data_builders.cms_hgg.cms_hgg_dataset_builder",
)
"""What `make quickstart` imports."""
BEYOND_QUICKSTART = {
    *("tensorflow", "apache_beam", "mlcroissant", "grain", "pandas", "uproot", "h5py", "XRootD"),
    *("sklearn", "hep_ml", "torch", "onnx", "onnxruntime", "distributed", "dask"),
}


def python_files():
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def run_python(code):
    """Runs a program in a new interpreter and returns what it printed."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def requirements(name):
    """The requirements of a file in pip's format, without options such as `-e .`."""
    lines = (line.strip() for line in (ROOT / name).read_text().splitlines())
    return {line for line in lines if line and not line.startswith(("#", "-"))}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.slow
def test_a_checkpoint_loads_with_the_light_core_alone():
    run_python(WITHOUT.format(absent=BEYOND_CORE, modules="e2e_jax.checkpoint"))


@pytest.mark.slow
def test_the_quickstart_needs_no_tensorflow_and_no_readers_of_files():
    run_python(WITHOUT.format(absent=BEYOND_QUICKSTART, modules=", ".join(QUICKSTART)))


@pytest.mark.parametrize(
    "extras", [("build", "files", "train", "tfds", "xrootd", "jets"), ("test", "cluster", "export")]
)
def test_requirements_files_and_extras_ask_for_the_same(project, extras):
    optional = project["optional-dependencies"]
    declared = {line for extra in extras for line in optional[extra] if not line.startswith("e2e_jax[")}
    if "test" in extras:
        assert requirements("requirements-test.txt") == declared
    else:
        assert requirements("requirements.txt") == declared | set(project["dependencies"])


def test_the_gpu_extra_allows_the_same_jax_as_the_core(project):
    core = next(line for line in project["dependencies"] if line.startswith("jax"))
    assert [line.replace("[cuda13]", "") for line in project["optional-dependencies"]["gpu"]] == [core]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package installed from a wheel, which was built from an sdist."""
    folder = tmp_path_factory.mktemp("packaging")
    source = folder / "source"
    for name in ("e2e_jax", "configs", "data_builders", "release"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import setuptools.build_meta as build, sys; build.build_sdist(sys.argv[1])"
    run_in(source, sys.executable, "-c", build, str(folder))
    (sdist,) = folder.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    run_in(folder, *pip, "wheel", *offline, "--wheel-dir", str(folder), str(sdist))
    (wheel,) = folder.glob("*.whl")
    run_in(folder, *pip, "install", *offline, "--no-compile", "--target", str(folder / "site"), str(wheel))
    return folder / "site"


def run_in(cwd, *command, path=""):
    """Runs a program far from the checkout and returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installation_holds_every_module_config_and_table(installed):
    kinds = {".py", ".npz", ".cc", ".h", ".md", ".bib", ".html", ".css", ".js", ".typed"}
    for package in ("e2e_jax", "data_builders"):
        files = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.suffix in kinds}
        assert {path for path in files if not (installed / path).exists()} == set()
    configs = {path.name for path in (ROOT / "configs").glob("*.py")}
    assert configs == {path.name for path in (installed / "e2e_jax/configs").glob("*.py")}


@pytest.mark.slow
def test_an_installation_holds_the_released_classifiers(installed):
    released = {
        path.relative_to(ROOT / "release") for path in (ROOT / "release").rglob("*") if path.is_file()
    }
    there = {path.relative_to(installed / "e2e_jax/zoo") for path in (installed / "e2e_jax/zoo").rglob("*")}
    assert released - there == set()


@pytest.mark.slow
def test_the_notebook_runs_where_there_is_no_checkout(installed, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "notebooks" / "restore_checkpoint.ipynb", as_version=4)
    program = tmp_path / "notebook.py"
    program.write_text("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))
    printed = run_in(tmp_path, sys.executable, "-W", "ignore", str(program), path=installed)
    assert "'gamma_gamma', 'h', 'gamma_jet'" in printed
    assert "180 events" in printed


@pytest.mark.slow
def test_the_program_runs_where_there_is_no_checkout(installed, tmp_path):
    program = (sys.executable, installed / "bin" / "e2e-jax")
    commands = run_in(tmp_path, *program, "--help", path=installed)
    assert all(command in commands for command in console.MODULES)
    for command in ("build", "display"):
        assert "usage: " in run_in(tmp_path, *program, command, "--help", path=installed)
    config = ["--config=e2e_jax.configs.four_momentum:medium", "--config.train.epochs=2", "--mode=evaluate"]
    done = subprocess.run(
        [*program, "train", *config, "--workdir=absent"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    # The config was found, and the run was not.
    assert "There is no run in absent" in done.stderr


def test_a_command_that_does_not_exist_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["e2e-jax", "trian"])
    with pytest.raises(SystemExit):
        console.main()
    assert "'trian'" in capsys.readouterr().err


def test_every_file_is_read_in_one_sitting():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files()}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_every_module_is_named_after_what_it_is_about():
    assert [path for path in python_files() if path.stem in VAGUE_NAMES] == []


def test_the_readme_links_to_files_that_exist():
    for page in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text())
        assert [link for link in links if not (ROOT / link).exists()] == [], page
