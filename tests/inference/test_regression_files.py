"""Predictions of observables in files: exported programs and scores need no true values."""

import jax
import numpy as np
import pytest
from pyarrow import parquet

from e2e_jax import experiment
from e2e_jax.configs import photons_mass
from e2e_jax.inference.export import signature, stablehlo
from e2e_jax.inference.loading import load_classifier
from e2e_jax.inference.prediction import Classifier, Predictor
from e2e_jax.inference.scoring import files
from e2e_jax.studies import hgg
from tests.objects import run_of
from tests.score_files import save_run, write_crops
from tests.synthetic import image_config, kinematics_config, sample

MASS = {"kind": "regression", "targets": ("mass",), "loss": "gaussian"}


def regression_of_the_mass():
    """The diphoton mass from images that are not divided by it, with random parameters."""
    config = image_config()
    config.task.update(MASS)
    config.inputs.normalization = "none"
    run = run_of(config)
    task = run.task.scaled({"mass": np.array([90.0, 180.0])})
    params = jax.device_get(run.initial_params(jax.random.key(1)))
    return Classifier(
        run.name, task, run.inputs, run.network, params, Predictor(task, run.network, run.inputs)
    )


@pytest.mark.slow
def test_an_exported_regression_predicts_without_its_target():
    classifier, events = regression_of_the_mass(), sample(4)
    shapes = signature.input_shapes(classifier, "hits")
    assert "mass" not in shapes
    exported = stablehlo.scorer(stablehlo.to_bytes(classifier, shapes))
    batch = signature.as_inputs(events.to_batch(), shapes)
    expected = classifier.predict(events)
    np.testing.assert_allclose(exported(batch), expected, rtol=1e-4, atol=1e-3)
    onnx_file = pytest.importorskip("e2e_jax.inference.export.onnx_file")
    pytest.importorskip("onnxruntime")
    scored = onnx_file.scorer(onnx_file.to_bytes(classifier, shapes))(batch)
    np.testing.assert_allclose(scored, expected, rtol=1e-4, atol=1e-3)
    named = classifier.predict_observables(events)
    np.testing.assert_array_equal(np.stack([named["mass"], named["mass_sigma"]], axis=1), expected)


def test_inputs_that_contain_the_answer_are_refused():
    for config in (image_config(), kinematics_config()):
        task = hgg.TASK.changed(**MASS)
        with pytest.raises(ValueError, match="predicts 'mass', but the network's inputs are made with it"):
            experiment.of(config, task)


@pytest.mark.slow
def test_scores_of_a_regression_have_its_columns(tmp_path):
    config = photons_mass.get_config()
    config.model.widths = (2, 4)
    run = save_run(tmp_path / "run", config)
    crops = write_crops(tmp_path / "SingleElectron.hdf5")
    scored = files.score(run, [crops], tmp_path / "scores.parquet", progress=False, job_events=5)
    assert (scored.columns, scored.invalid) == (("predicted_mass_a",), 0)
    table = parquet.read_table(scored.path)
    assert np.isfinite(table["predicted_mass_a"].to_numpy()).all()
    assert np.isnan(table["mass_a"].to_numpy()).all()
    assert not any(name.startswith("probability") for name in table.column_names)
    assert load_classifier(run).task == run_of(config).task
