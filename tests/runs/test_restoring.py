"""Invalid checkpoints, and invalid inputs of a classifier, are rejected with helpful messages."""

import json
import shutil

import numpy as np
import pytest

from e2e_jax.detector.images import make_images
from e2e_jax.errors import WorkdirError
from e2e_jax.inference.loading import load_classifier
from e2e_jax.runs import checkpoint_files
from e2e_jax.runs.checkpoints import Checkpoints, read_about
from e2e_jax.runs.folder import claim, read_config
from e2e_jax.studies import hgg
from tests.objects import new_state
from tests.runs.test_checkpoints import DATASET, PROGRESS, assert_equal, save_run, state_of
from tests.synthetic import image_config, kinematics_config, sample

# Where a read fails, threads of Orbax may still report to an event loop that is closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with one checkpoint, its folder and the best parameters; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    _, best = save_run(folder, kinematics_config())
    return folder, best


def copy(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "run")


@pytest.mark.slow
def test_the_config_of_another_network_is_told_apart(saved, tmp_path):
    run = copy(saved, tmp_path)
    config = kinematics_config()
    config.model.widths = (16,)
    (run / "config.json").write_text(json.dumps(config.to_dict()))
    expected = r"saved with another config \(model\.widths: \(8,\) there, \(16,\) in config\.json\)"
    for which in ("best", "latest"):
        with pytest.raises(WorkdirError, match=expected):
            load_classifier(run, which)


def test_the_parameters_of_another_network_are_told_apart(tmp_path):
    """As another version of this package may build it from the same config."""
    claim(tmp_path, config := kinematics_config())
    with Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints:
        checkpoints.save(1, None, {"dense": np.zeros(3, np.float32)}, PROGRESS)
    with pytest.raises(WorkdirError, match=r"dense: \(3,\) there, None here.*Install the version"):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda config: config["inputs"]["scale"].update(ecal=1.0),
            r"inputs\.scale\.ecal: 50\.0 there, 1\.0",
        ),
        (lambda config: config["inputs"].update(normalization="none"), r"inputs\.normalization: 'mass'"),
        (
            lambda config: config["model"].update(name="transformer"),
            r"model\.name: 'four_momentum' there, 'transformer'",
        ),
        (
            lambda config: config["inputs"].update(kind="jets"),
            r"'jets'; it is one of images, tokens, ",
        ),
        (lambda config: config.pop("model"), r"config\.json .*config\.model\.name is missing"),
        (lambda config: config["train"].pop("epochs"), r"config\.json .*config\.train\.epochs is missing"),
        (
            lambda config: config["evaluate"].update(batch_size="all"),
            r"config\.evaluate\.batch_size is 'all'; it is a whole number",
        ),
        (lambda config: config.update(train=3), r"config\.train is no field of a config"),
        (lambda config: config.update(__class__="x"), "'__class__' is no name of a field"),
        (lambda config: config.update(items={"update": 1}), "no sound config|items"),
    ],
)
def test_an_edited_config_is_refused(saved, tmp_path, change, match):
    run = copy(saved, tmp_path)
    config = kinematics_config().to_dict()
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(WorkdirError, match=match):
        load_classifier(run)


def test_a_field_that_decides_no_result_may_be_edited(saved, tmp_path):
    run = copy(saved, tmp_path)
    config = kinematics_config()
    config.evaluate.bootstrap = 7
    (run / "config.json").write_text(json.dumps(config.to_dict()))
    assert read_config(run).evaluate.bootstrap == 7


@pytest.mark.parametrize("text", ["[]", "3", "[" * 10_000, '{"a":' * 10_000, "\x80", '{"a": 1'])
def test_what_is_no_config_is_named(saved, tmp_path, text):
    run = copy(saved, tmp_path)
    (run / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(WorkdirError, match=r"config\.json .*train into a new folder"):
        load_classifier(run)


def test_a_checkpoint_from_the_future_is_named(tmp_path, monkeypatch):
    config = kinematics_config()
    with monkeypatch.context() as future:
        future.setattr(checkpoint_files, "FORMAT", checkpoint_files.FORMAT + 1)
        future.setattr(checkpoint_files, "__version__", "9.8")
        save_run(tmp_path, config)
    with pytest.raises(WorkdirError, match=r"format 4, written by e2e_jax 9\.8.*Install that version"):
        load_classifier(tmp_path)
    with (
        Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints,
        pytest.raises(WorkdirError, match=r"format 3"),
    ):
        checkpoints.restore(state_of(config))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_every_damaged_file_is_noticed(saved, tmp_path, damage):
    run, config = copy(saved, tmp_path), kinematics_config()
    files = sorted(path for path in (run / "checkpoints").rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        if damage == "gone":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        else:
            middle = len(content) // 2
            flipped = bytes([byte ^ 0x04 for byte in content[middle : middle + 1]])
            path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        # An empty file cannot be cut or flipped.
        if not path.exists() or path.read_bytes() != content:
            with (
                Checkpoints(run, config, hgg.TASK, DATASET) as checkpoints,
                pytest.raises(WorkdirError, match=r"cannot be read.*Copy its folder again"),
            ):
                checkpoints.restore(state_of(config))
        path.write_bytes(content)
    assert len(files) > 10
    assert_equal(load_classifier(run).params, saved[1])


def test_a_flip_of_any_bit_of_the_description_is_noticed(saved, tmp_path):
    run = copy(saved, tmp_path)
    (path,) = (run / "checkpoints").rglob("e2e_jax.json")
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        with pytest.raises(WorkdirError):
            read_about(run)
    path.write_bytes(content)
    assert read_about(run)["dataset"] == DATASET


def test_a_training_does_not_go_on_from_a_damaged_state(tmp_path):
    config = kinematics_config()
    claim(tmp_path, config)
    with Checkpoints(tmp_path, config, hgg.TASK, {}) as checkpoints:
        for step in (3, 6):
            checkpoints.save(step, state_of(config), state_of(config).params, PROGRESS)
        checkpoints.wait()
        largest = max((tmp_path / "checkpoints" / "6" / "state").rglob("*"), key=lambda p: p.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-100])
        with pytest.raises(WorkdirError, match=r"or load the step 3.*when the folder 6 is deleted"):
            checkpoints.restore(new_state(config))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    save_run(folder, image_config())
    return load_classifier(folder)


def _images(**changes):
    images = {"barrel": np.zeros((2, 170, 360, 2)), "mass": np.full(2, 125.0)}
    return {name: value for name, value in {**images, **changes}.items() if value is not None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (
            np.zeros((2, 170, 360, 2)),
            r"'barrel': \[n, 170, 360, 2\].*got ndarray of shape \(2, 170, 360, 2\)",
        ),
        (
            _images(barrel=np.zeros((2, 100, 100, 2))),
            r"shape \(2, 100, 100, 2\), but .* the channels tracks, ecal",
        ),
        (_images(barrel=np.zeros((2, 170, 360, 3))), r"shape \(2, 170, 360, 3\)"),
        (_images(mass=np.full(3, 125.0)), r"are of different numbers of events: .*'mass': 3"),
        (_images(mass=125.0), r"'mass' is no array"),
        (_images(mass=np.array([125.0, 0])), r"Event 1: mass = 0\.0"),
        (_images(mass=None), r"no 'mass', which this classifier reads"),
        (_images(barrel=np.full((2, 170, 360, 2), np.inf)), r"Event 0: barrel = inf is not finite"),
        ({}, r"are of different numbers of events: none"),
    ],
)
def test_what_cannot_be_judged_is_named(classifier, batch, match):
    with pytest.raises(ValueError, match=match):
        classifier.predict(batch)


def test_events_that_are_not_finite_are_named(classifier):
    events = sample(1)
    events.tracks.columns["pt"][-1] = np.nan
    with pytest.raises(ValueError, match=r"Event 2 .*tracks\.pt = nan is not finite"):
        classifier.predict(events)


def test_hits_on_cells_that_do_not_exist_are_named(classifier):
    batch = sample(1).to_batch()
    batch["eb"] = {**batch["eb"], "cell": batch["eb"]["cell"].astype(np.int64) - 5000}
    with pytest.raises(ValueError, match=r"Event \d+: eb\.cell = -\d+ .* 0 to 61199"):
        classifier.predict(batch)


@pytest.mark.slow
def test_hits_and_images_may_have_any_type_of_number(classifier):
    events = sample(1)
    expected, batch = classifier.predict(events), events.to_batch()
    wide = {name: value.astype(np.float64) for name, value in batch.items() if name == "mass"}
    for name in ("eb", "tracks"):
        wide[name] = {c: v.astype(np.int64 if c == "cell" else np.float64) for c, v in batch[name].items()}
    np.testing.assert_allclose(classifier.predict(wide), expected, rtol=1e-5)
    images = {name: np.asarray(image, np.float64) for name, image in _made(classifier, events).items()}
    np.testing.assert_allclose(classifier.predict({**images, "mass": events.mass}), expected, rtol=1e-5)
    assert classifier.classes == ("gamma_gamma", "h", "gamma_jet")


def _made(classifier, events):
    return make_images(events, channels=classifier.inputs.channels)
