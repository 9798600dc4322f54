"""What is no sound checkpoint of its config, or no input of its classifier, is refused in words that help."""

import json
import shutil

import numpy as np
import pytest

from e2e_jax import checkpoint, train
from e2e_jax.checkpoint import Checkpoints, load_classifier, read_progress
from e2e_jax.detector.images import make_images
from e2e_jax.workdir import WorkdirError, claim
from tests.synthetic import image_config, kinematics_config, sample
from tests.test_checkpoint import PROGRESS, assert_equal, save_run, state_of

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


def test_the_config_of_another_network_is_told_apart(saved, tmp_path):
    run = copy(saved, tmp_path)
    config = kinematics_config()
    config.model.widths = (16,)
    (run / "config.json").write_text(json.dumps(config.to_dict()))
    expected = (
        r"another network than config.json describes: it has 75 parameters, .* 147 .*hidden0/kernel: \(5, 8\)"
    )
    for which in ("best", "latest"):
        with pytest.raises(WorkdirError, match=expected):
            load_classifier(run, which)


def test_the_parameters_of_another_model_are_told_apart(saved, tmp_path):
    run = copy(saved, tmp_path)
    (run / "config.json").write_text(json.dumps(image_config().to_dict()))
    with pytest.raises(WorkdirError, match=r"features/.*nothing there.*of one run"):
        load_classifier(run)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda config: config["model"].update(name="transformer"), r"'transformer', but the networks are"),
        (lambda config: config.pop("model"), r"config\.json describes no network .*model"),
        (lambda config: config["inputs"].update(kind="jets"), r"'jets'; it is one of images, kinematics"),
    ],
)
def test_a_config_from_the_future_is_named(saved, tmp_path, change, match):
    run = copy(saved, tmp_path)
    config = kinematics_config().to_dict()
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(WorkdirError, match=match):
        load_classifier(run)
    (run / "config.json").write_text("[]")
    with pytest.raises(WorkdirError, match="holds no config"):
        load_classifier(run)


def test_a_checkpoint_from_the_future_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as future:
        future.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
        future.setattr(checkpoint, "__version__", "9.8")
        save_run(tmp_path, kinematics_config())
    with pytest.raises(WorkdirError, match=r"format 2, written by e2e_jax 9\.8.*Install that version"):
        load_classifier(tmp_path)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(WorkdirError, match=r"format 2"),
    ):
        checkpoints.restore(state_of(kinematics_config()))


def test_a_checkpoint_from_before_there_were_formats_is_read(tmp_path):
    config = kinematics_config()
    claim(tmp_path, config)
    state = state_of(config)
    with Checkpoints(tmp_path) as checkpoints:
        parts = {"state": state, "best": state.params}
        checkpoints._orbax.save_checkpointables(7, parts, custom_metadata=PROGRESS)
        assert_equal(checkpoints.restore(state)[0], state)
    assert read_progress(tmp_path) == PROGRESS
    assert_equal(load_classifier(tmp_path).params, state.params)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_file_is_noticed_or_does_not_matter(saved, tmp_path, damage):
    """Every file of a checkpoint in turn: the parameters are those that were saved, or it is refused."""
    run, refused = copy(saved, tmp_path), 0
    for path in sorted(path for path in (run / "checkpoints").rglob("*") if path.is_file()):
        if "state" in path.parts:
            continue
        content = path.read_bytes()
        if damage == "gone":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        else:
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 0x5A]) + content[middle + 1 :])
        try:
            params = load_classifier(run).params
        except WorkdirError as error:
            refused += "cannot be read" in str(error) and "Copy its folder again" in str(error)
        else:
            assert_equal(params, saved[1])
        path.write_bytes(content)
    assert refused >= 3
    assert_equal(load_classifier(run).params, saved[1])


def test_a_training_does_not_go_on_from_a_damaged_state(tmp_path):
    config = kinematics_config()
    claim(tmp_path, config)
    with Checkpoints(tmp_path) as checkpoints:
        for step in (3, 6):
            checkpoints.save(step, state_of(config), state_of(config).params, PROGRESS)
        largest = max((tmp_path / "checkpoints" / "6" / "state").rglob("*"), key=lambda p: p.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-100])
        with pytest.raises(WorkdirError, match=r"or the step 3.*when the folder 6 is deleted"):
            checkpoints.restore(train.create_state(config, train.jax.random.key(0)))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    save_run(folder, image_config())
    return load_classifier(folder)


def _images(**changes):
    images = {"barrel": np.zeros((2, 170, 360, 2)), "mass": np.full(2, 125.0)}
    return {name: value for name, value in {**images, **changes}.items() if value is not None}


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
        (_images(mass=np.array([125.0, 0])), r"'mass' of event 1 is 0\.0"),
        (_images(mass=None), r"no 'mass', which config.inputs.normalisation = 'mass' needs"),
        (_images(barrel=np.full((2, 170, 360, 2), np.inf)), r"'barrel' of event 0 is not finite"),
        ({}, r"are of different numbers of events: none"),
    ],
)
def test_what_cannot_be_judged_is_named(classifier, batch, match):
    with pytest.raises(ValueError, match=match):
        classifier.predict(batch)


def test_events_that_are_not_finite_are_named(classifier):
    events = sample(1)
    events.tracks.columns["pt"][-1] = np.nan
    with pytest.raises(ValueError, match=r"'tracks\.pt' of event 2 is not finite"):
        classifier.predict(events)


def test_hits_on_cells_that_do_not_exist_are_named(classifier):
    batch = sample(1).to_batch()
    batch["eb"] = {**batch["eb"], "cell": batch["eb"]["cell"].astype(np.int64) - 5000}
    with pytest.raises(ValueError, match=r"'eb\.cell' holds -\d+ to .* 0 to 61199"):
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
    return make_images(events, channels=classifier.config.inputs.channels)
