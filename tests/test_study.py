"""Studies: the user's in one file, and the examples; what is wrong with one is a paragraph that names it."""

import concurrent.futures
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from e2e_jax.commands import build
from e2e_jax.datasets import builder, configs, naming, preparation
from e2e_jax.datasets.preparation import DatasetError
from e2e_jax.datasets.reading import read_split
from e2e_jax.errors import StudyError
from e2e_jax.execution.jobs import SPLITS, run_jobs
from e2e_jax.execution.workers import WorkerPool
from e2e_jax.sources.simulation import simulate
from e2e_jax.sources.simulation.jobs import simulation_jobs
from e2e_jax.studies import hgg, loading
from e2e_jax.study import Sample, Size, Study, Task, files, gun, photons, pythia
from e2e_jax.study.selection import Selected, Selection
from tests.aodsim_lists import write_lists
from tests.sources.simulation.test_same_events import pool
from tests.synthetic_tasks import produce_selected

EXAMPLES = Path(__file__).parents[1] / "examples"
SAMPLES = (Sample("gamma_gamma", pythia("diphoton_born")), Sample("h", pythia("higgs_to_photons")))

FILE = '''"""Diphotons."""
from e2e_jax.study import Observable, Sample, Selected, Selection, Size, Study, Task, pythia

LEAST = 1


def two(events):
    """Events with photons."""
    found = events.photons
    return Selected(found.counts > LEAST, {"leading": found.pt[found.offsets[:-1]]})


STUDY = Study(
    samples=[Sample("gamma_gamma", pythia("diphoton_born")), Sample("h", pythia("higgs_to_photons"))],
    select=Selection(two, [Observable("leading", "GeV", "pt")]),
    sizes={"quick": Size(train=4, validation=2, test=3)},
    task=Task(signal="h", decorrelate="leading", of="gamma_gamma"),
)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def build_study(study, size, data_dir, **changes):
    """Builds a size of a study in threads of this process; gives the folder."""
    config = next(config for config in configs.of(study) if config.name == size)
    config = dataclasses.replace(config, **changes)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        made = builder.of(study.name, [config])
        made(config=config, data_dir=data_dir, executor=executor).download_and_prepare()
    return data_dir / study.name / size / str(builder.VERSION)


def simulated(job):
    """Simulates with random deposits in the place of minimum-bias collisions."""
    return simulate.produce(job, pool(job.endcaps))


def test_the_study_of_a_file_becomes_a_dataset_with_its_names(file, tmp_path):
    study = loading.load(str(file))
    folder = build_study(study, "quick", tmp_path, produce=produce_selected)
    assert preparation.prepare_dataset(f"{file}:quick", str(tmp_path)) == folder
    task = Task(**preparation.read_metadata(folder)["task"])
    assert (task.labels, task.decorrelate_observables[0].label) == (("gamma_gamma", "h"), "pt [GeV]")
    for split, size in zip(SPLITS, (4, 2, 3)):
        events = read_split(folder, split, progress=False)
        assert np.bincount(events.label).tolist() == [size, size]
        np.testing.assert_array_equal(events.leading, events.to_batch()["photons"][:, 0, 0])


def test_a_selection_of_a_file_reaches_workers_that_do_not_have_the_file(file):
    study = loading.load(str(file))
    file.unlink()
    jobs = simulation_jobs(study, 2, seed=1)
    with WorkerPool(1) as executor:
        made = [events for _, events in run_jobs(jobs, produce_selected, executor, progress=False)]
    assert [list(events.observables) for events in made] == [["leading"]] * 2


def test_an_edited_study_is_another_dataset_and_an_edited_task_is_not(file, tmp_path):
    folder = build_study(loading.load(str(file)), "quick", tmp_path, produce=produce_selected)
    name, data_dir = f"{file}:quick", str(tmp_path)
    file.write_text(FILE.replace('"""Events with photons."""', "# A comment."))
    assert preparation.prepare_dataset(name, data_dir) == folder
    file.write_text(FILE.replace('signal="h"', 'signal="gamma_gamma"'))
    preparation.prepare_dataset(name, data_dir)
    assert preparation.read_metadata(folder)["task"]["signal"] == "gamma_gamma"
    changes = {"select": ("LEAST = 1", "LEAST = 0"), "samples": ('"higgs_to_', '"25:m0 = 130", "higgs_to_')}
    for part, change in changes.items():
        file.write_text(FILE.replace(*change))
        with pytest.raises(DatasetError, match=f"another state of its study: {part} differ"):
            preparation.prepare_dataset(name, data_dir)


@pytest.mark.slow
def test_a_study_is_read_from_file_lists_too(file, tmp_path):
    file.write_text(
        FILE.replace("Size(train=4, validation=2, test=3)", "Size(train=3, validation=2, test=1)")
    )
    lists = write_lists(tmp_path / "lists", files=1)
    folder, metadata = build.build(f"{file}:quick", tmp_path, workers=1, files=str(lists))
    assert metadata["origin"] == "AODSIM files of own lists"
    assert folder == preparation.prepare_dataset(f"{file}:quick", str(tmp_path))
    for split, size in zip(SPLITS, (3, 2, 1)):
        events = read_split(folder, split, progress=False)
        assert np.bincount(events.label).tolist() == [size, size]
        np.testing.assert_array_equal(events.leading, events.to_batch()["photons"][:, 0, 0])


def test_samples_may_be_files(tmp_path):
    lists = write_lists(tmp_path / "lists", files=1)
    samples = [Sample(name, files(str(lists / f"{name}.txt"))) for name in ("h", "gamma_jet")]
    study = Study(samples, Task(signal="h"), {"few": Size(2, 1)}, photons(), name="read")
    events = read_split(build_study(study, "few", tmp_path), "train", progress=False)
    assert np.bincount(events.label).tolist() == [2, 2]
    assert (events.mass > 90).all()


def test_samples_that_are_files_can_be_looked_at_first(tmp_path):
    lists = write_lists(tmp_path / "lists", files=1)
    samples = [Sample(name, files(str(lists / f"{name}*.root"))) for name in ("h", "gamma_jet")]
    (config,) = configs.of(Study(samples, Task(signal="h"), {"few": Size(2, 1)}, name="read"))
    report, sound = config.check("read/few")
    assert sound
    assert [line.split()[0] for line in report.splitlines()] == ["label", "h", "gamma_jet"]
    with open(lists / "lists.txt", "w") as file:
        file.write("h_0.root size:1")
    samples[0] = Sample("h", files(str(lists / "lists.txt")))
    (config,) = configs.of(Study(samples, Task(signal="h"), {"few": Size(2, 1)}, name="read"))
    assert not config.check("read/few")[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["haa", "zee", "tops"])
def test_the_examples_build(name, tmp_path):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 40
    study = loading.load(str(path))
    folder = build_study(study, "quick", tmp_path, produce=simulated, train=3, validation=2, test=1)
    for split, size in zip(SPLITS, (3, 2, 1)):
        events = read_split(folder, split, progress=False)
        assert np.bincount(events.label).tolist() == [size, size]
        assert (events.observables[study.task.decorrelate[0]] > 60).all()
    assert events.ee.counts.all() == (name == "tops")


def test_built_in_studies_have_their_tasks():
    assert hgg.TASK.labels == hgg.LABELS
    assert hgg.TASK.decorrelate_observables[0].label == "Diphoton mass [GeV]"
    assert {config.test for config in naming.CMS_HGG if hasattr(config, "fast")} == {600, 3000, 11800, 15600}


@pytest.mark.slow
def test_a_selection_that_keeps_nothing_is_told_with_what_each_cut_left(monkeypatch):
    monkeypatch.setattr(simulate, "MOST_IN_VAIN", 50)
    study = Study(SAMPLES, Task(signal="h"), select=photons(mass=(4000, 5000)))
    message = r"none of the first 50 simulated events of gamma_gamma.*all: 50, 2 photons above 20 GeV: \d+"
    with pytest.raises(StudyError, match=message):
        simulated(simulation_jobs(study, 2, seed=1)[0])


WRONG = {
    "import nowhere": "does not import: ModuleNotFoundError: No module named 'nowhere'",
    "1 +": "does not import: SyntaxError",
    "STUDY = 1": "must define STUDY = Study",
    "": "it has nothing of that name",
    FILE.replace('Sample("h",', 'Sample("gamma_gamma",'): "two samples with the label 'gamma_gamma'",
    FILE.replace('signal="h"', 'signal="higgs"'): "signal is 'higgs', but its classes are gamma_gamma, h",
    FILE.replace('"leading", of', '"mass", of'): "decorrelates from 'mass', but .* observables are leading",
    FILE.replace("train=4", "train=0"): "A size cannot have train=0",
    FILE.replace('pythia("diphoton_born")', 'pythia("diphotons")'): r"pythia\('diphotons'\) is neither",
    FILE.replace('pythia("diphoton_born")', "None"): "'gamma_gamma' has the source None",
    FILE.replace('{"quick": Size(train=4, validation=2, test=3)}', "{}"): "has no sizes",
}


@pytest.mark.parametrize("text", WRONG, ids=WRONG.values())
def test_what_is_wrong_with_a_study_is_one_paragraph(file, text):
    file.write_text(text)
    with pytest.raises(StudyError, match=WRONG[text]) as error:
        naming.find(f"{file}:quick")
    assert str(file) in str(error.value)


def test_studies_and_sizes_that_do_not_exist_are_named(file, tmp_path):
    with pytest.raises(StudyError, match=r"has no size 'huge'; its sizes are: quick"):
        naming.find(f"{file}:huge")
    with pytest.raises(StudyError, match=r"There is no file .*nowhere\.py"):
        naming.find(f"{tmp_path}/nowhere.py:quick")
    with pytest.raises(StudyError, match=r"no\.where does not import"):
        naming.find("no.where:quick")
    other = tmp_path / "cms_hgg.py"
    other.write_text(FILE)
    with pytest.raises(DatasetError, match="name 'cms_hgg' of a built-in dataset"):
        naming.find(f"{other}:quick")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no sample"),
        ([SAMPLES[0], Sample("e", gun("electron"))], "must all be simulated, or all be files"),
    ],
)
def test_samples_that_do_not_fit_together_are_refused(samples, message):
    with pytest.raises(StudyError, match=message):
        Study(samples, Task(signal="e"))


def test_an_observable_that_the_selection_does_not_give_is_named():
    select = Selection(lambda events: Selected(np.ones(len(events), bool)), hgg.TASK.observables)
    study = Study(SAMPLES, Task(signal="h"), select=select)
    with pytest.raises(StudyError, match="lacks the observable 'mass'; it gives none"):
        produce_selected(simulation_jobs(study, 2, seed=1)[0])
