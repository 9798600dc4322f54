"""An exported file gives the scores of `Classifier.predict` without this code, or is not written."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from e2e_jax.errors import ExportError
from e2e_jax.inference.export import files, signature, stablehlo
from e2e_jax.inference.loading import load_classifier
from e2e_jax.studies import hgg
from e2e_jax.study import Task
from tests.objects import classifier_of
from tests.runs.test_checkpoints import save_run
from tests.synthetic import (
    binary_config,
    dropout_config,
    existing_cells,
    high_level_config,
    image_config,
    kinematics_config,
    sample,
    token_config,
)

onnx_file = pytest.importorskip(
    "e2e_jax.inference.export.onnx_file", reason="the package onnx is not installed"
)
onnxruntime = pytest.importorskip("onnxruntime")


def _config(geometry, **inputs):
    config = image_config()
    config.inputs.geometry, config.inputs.channels = geometry, ("tracks", "ecal", "hcal")
    config.inputs.update(inputs)
    return config


MODELS = {
    "4-momentum": kinematics_config,
    "high-level": high_level_config,
    "binary": binary_config,
    "barrel": image_config,
    "barrel, all channels": lambda: _config("barrel", normalization="sum_pt"),
    "ECAL-centric": lambda: _config("ecal_centric", normalization="none"),
    "a head": dropout_config,
    "HCAL-centric": lambda: _config("hcal_centric"),
    "tokens": token_config,
    "authors'": lambda: _config("hcal_centric", matches_authors=True),
}
"""Small configs of every network, geometry and normalization."""


def events_batch(n=3):
    """Hits on every kind of cell, tracks in all directions, also in directions without cells."""
    events = sample(per_class=n, hits=30)
    rng = np.random.default_rng(5)
    tracks = events.tracks.columns
    tracks["eta"][:] = rng.uniform(-3.2, 3.2, len(tracks["eta"]))
    tracks["phi"][:] = rng.uniform(-3.2, 3.2, len(tracks["phi"]))
    tracks["eta"][:2] = 1.479, -3.0
    for name in ("eb", "ee", "hcal"):
        ragged = getattr(events, name)
        ragged.columns["cell"][:] = rng.choice(existing_cells(name), len(ragged.cell))
        ragged.columns["energy"][::7] *= -1
    return events.to_batch()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_onnx_scores_hits_as_predict_does(name):
    classifier, batch = classifier_of(MODELS[name]()), events_batch()
    shapes = signature.input_shapes(classifier, "hits")
    scorer = onnx_file.scorer(onnx_file.to_bytes(classifier, shapes))
    expected = classifier.predict(batch)
    assert np.ptp(expected, axis=0).min() > 1e-5
    np.testing.assert_allclose(scorer(signature.as_inputs(batch, shapes)), expected, atol=1e-5)
    # Another number of events and of hits, with the same file.
    fewer = jax.tree.map(lambda column: column[:2], batch)
    np.testing.assert_allclose(scorer(signature.as_inputs(fewer, shapes)), expected[:2], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "stablehlo"])
@pytest.mark.parametrize("name", ["barrel, all channels", "a head", "tokens"])
def test_images_are_scored_as_predict_does(name, form):
    classifier = classifier_of(MODELS[name]())
    shapes = signature.input_shapes(classifier, "images")
    module = onnx_file if form == "onnx" else stablehlo
    inputs = signature.probe(shapes, 2)
    scored = module.scorer(module.to_bytes(classifier, shapes))(inputs)
    np.testing.assert_allclose(scored, classifier.predict(inputs), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["4-momentum", "high-level", "barrel", "HCAL-centric", "tokens"])
def test_stablehlo_scores_any_number_of_hits_as_predict_does(name):
    classifier, batch = classifier_of(MODELS[name]()), events_batch()
    shapes = signature.input_shapes(classifier, "hits")
    content = stablehlo.to_bytes(classifier, shapes)
    assert jax.export.deserialize(bytearray(content)).platforms == ("cpu", "cuda")
    scorer, expected = stablehlo.scorer(content), classifier.predict(batch)
    for rows in (9, 2):
        part = jax.tree.map(lambda column, rows=rows: column[:rows], batch)
        np.testing.assert_allclose(scorer(signature.as_inputs(part, shapes)), expected[:rows], atol=1e-5)


@pytest.mark.slow
def test_a_file_calls_nothing_of_this_machine():
    # With the paper's widths, a CPU uses the C++ code of this package.
    config = image_config()
    config.model.widths = (16, 32)
    classifier = classifier_of(config)
    content = stablehlo.to_bytes(classifier, signature.input_shapes(classifier, "images"))
    assert b"e2e_resnet_forward" not in content


@pytest.mark.slow
def test_only_what_is_read_is_an_input():
    classifier = classifier_of(image_config())
    assert set(signature.input_shapes(classifier, "hits")) == {"mass", "eb", "tracks"}
    assert set(signature.input_shapes(classifier, "images")) == {"mass", "barrel"}
    assert set(signature.input_shapes(classifier_of(kinematics_config()), "hits")) == {"mass", "photons"}


FAR_FROM_HERE = """
import sys
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 1)
call = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call
scored = call({"photons": np.ones((7, 2, 3), np.float32), "mass": np.full(7, 125, np.float32)})
assert scored.shape == (7, 3)
assert not [name for name in sys.modules if name.startswith(("e2e_jax", "flax", "orbax"))]
"""


@pytest.mark.slow
def test_the_command_writes_a_file_that_needs_jax_alone(tmp_path):
    save_run(tmp_path / "run", kinematics_config())
    output = tmp_path / "classifier.stablehlo"
    told = files.export(tmp_path / "run", output, "stablehlo")
    assert "mass: float32[events]" in told
    assert "largest difference" in told
    command = [sys.executable, "-c", FAR_FROM_HERE, str(output)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_onnx_file_says_what_it_is(tmp_path):
    onnx = pytest.importorskip("onnx")
    save_run(tmp_path / "run", kinematics_config())
    files.export(tmp_path / "run", tmp_path / "classifier.onnx", "onnx")
    model = onnx.load(tmp_path / "classifier.onnx")
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes["classes"] == "gamma_gamma,h,gamma_jet"
    assert Task(**json.loads(notes["task"])) == hgg.TASK
    assert [entry.name for entry in model.graph.input] == ["mass", "photons"]
    session = onnxruntime.InferenceSession(tmp_path / "classifier.onnx")
    inputs = {"mass": np.full(4, 125, np.float32), "photons": np.ones((4, 2, 3), np.float32)}
    np.testing.assert_allclose(
        session.run(None, inputs)[0], load_classifier(tmp_path / "run").predict(inputs), atol=1e-5
    )


def test_a_file_that_would_score_otherwise_is_not_written(tmp_path, monkeypatch):
    save_run(tmp_path / "run", kinematics_config())
    output = tmp_path / "classifier.stablehlo"
    output.write_text("before")
    monkeypatch.setattr(stablehlo, "scorer", lambda content: lambda inputs: np.full((5, 3), 1 / 3))
    with pytest.raises(ExportError, match=r"differ from predict by .* so it was not written"):
        files.export(tmp_path / "run", output, "stablehlo")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [output.name]
    assert output.read_text() == "before"


def test_an_operation_without_a_counterpart_is_named(monkeypatch):
    classifier = classifier_of(kinematics_config())
    shapes = signature.input_shapes(classifier, "hits")
    unknown = lambda classifier: lambda batch: jax.lax.cumsum(batch["photons"], axis=1)  # noqa: E731
    monkeypatch.setattr(onnx_file, "scoring_function", unknown)
    with pytest.raises(ExportError, match=r"'cumsum'.*as stablehlo"):
        onnx_file.to_bytes(classifier, shapes)


def test_what_cannot_be_exported_is_named(tmp_path):
    save_run(tmp_path, kinematics_config())
    output = tmp_path / "classifier"
    with pytest.raises(ExportError, match=r"sees kinematics, no images.*--input=hits"):
        files.export(tmp_path, output, "stablehlo", "images")
    with pytest.raises(ExportError, match=r"'torch'.*stablehlo, onnx"):
        files.export(tmp_path, output, "torch")
    with pytest.raises(ExportError, match=r"folder that exists"):
        files.export(tmp_path, tmp_path / "nowhere" / "file", "onnx")
    with pytest.raises(ExportError, match=r"/dev/full cannot be written"):
        files.export(tmp_path, "/dev/full", "stablehlo")
    assert Path("/dev/full").is_char_device()
    assert not output.exists()
