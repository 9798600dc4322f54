"""A task names what a classifier learns, and every other module takes names and numbers from it."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from e2e_jax import experiment
from e2e_jax.configs import cms_b_binary, default, showers_vgg
from e2e_jax.datasets import naming
from e2e_jax.errors import DatasetError
from e2e_jax.studies import hgg, showers
from e2e_jax.study import Observable, Task
from tests.objects import run_of

DECAYS = showers.STUDIES["decays"].task.scaled({"mass_a": np.array([0.0, 1.2])})
BINARY = hgg.TASK.changed(classes=("background=gamma_gamma+gamma_jet", "h"))


def test_each_label_is_a_class_by_default():
    assert hgg.TASK.names == ("gamma_gamma", "h", "gamma_jet")
    assert hgg.TASK.backgrounds == ("gamma_gamma", "gamma_jet")
    labels = np.array([2, -1, 0])
    assert hgg.TASK.of_labels(labels) is labels


def test_a_class_may_have_several_labels_and_a_label_none():
    assert BINARY.names == ("background", "h")
    assert BINARY.signal_index == 1
    np.testing.assert_array_equal(BINARY.of_labels(np.array([0, 1, 2, -1])), [0, 1, 0, -1])
    two = hgg.TASK.changed(classes=("gamma_gamma", "h"))
    np.testing.assert_array_equal(two.of_labels(np.array([0, 1, 2, -1])), [0, 1, -1, -1])
    found = jax.jit(lambda labels: two.of_labels(labels, jax.numpy))(np.array([0, 1, 2, -1]))
    np.testing.assert_array_equal(found, [0, 1, -1, -1])
    assert two.scored == ("h",)
    assert BINARY.scored == ("background", "h")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signal": "higgs"}, ["'higgs'", "gamma_gamma, h, gamma_jet"]),
        ({"classes": ("a=gamma_gamma+gamma_jet", "gamma_jet", "h")}, ["gamma_jet", "more than one class"]),
        ({"classes": ("a=gamma_gamma", "a=gamma_jet", "h")}, ["'a' twice"]),
        ({"classes": ("h",)}, ["1 classes"]),
        ({"classes": ("gamma_jet", "h")}, ["'gamma_gamma'", "in none of its classes"]),
        ({"classes": ("photon", "h")}, ["'photon'", "the labels are"]),
        ({"of": ("photon",)}, ["'photon'", "the labels are"]),
        ({"decorrelate": "pt"}, ["'pt'", "are mass"]),
        ({"kind": "ranking"}, ["'ranking'", "classification, regression, joint"]),
        ({"kind": "regression"}, ["'regression'", "no targets"]),
        ({"targets": ("mass",)}, ["'classification'", "targets mass"]),
        ({"kind": "joint", "targets": ("pt",)}, ["target is 'pt'", "are mass"]),
        ({"kind": "joint", "targets": ("mass", "mass")}, ["'mass' twice"]),
        ({"kind": "joint", "targets": ("mass",), "loss": "l2"}, ["'l2'", "huber, gaussian"]),
        ({"kind": "joint", "targets": ("mass",), "weight": -1.0}, ["weight is -1.0", "above 0"]),
    ],
)
def test_a_task_that_cannot_be_is_named(change, words):
    with pytest.raises(ValueError) as raised:
        hgg.TASK.changed(**change)
    assert all(word in str(raised.value) for word in words), raised.value


def test_a_classification_becomes_a_regression_or_both_and_again_itself():
    both = hgg.TASK.changed(kind="joint", targets=("mass",), loss="gaussian")
    assert both.outputs == 3 + 2
    assert both.columns[-2:] == ("predicted_mass", "sigma_mass")
    assert both.changed(kind="classification", loss="huber") == hgg.TASK
    alone = both.changed(kind="regression")
    assert (alone.names, alone.columns, alone.parts) == ((), ("predicted_mass", "sigma_mass"), 1)
    assert (alone.signal, alone.decorrelate, alone.known_observables) == ("", (), ())
    np.testing.assert_array_equal(alone.of_labels(np.array([2, -1, 0])), [0, 0, 0])
    with pytest.raises(ValueError, match="takes no signal"):
        Task(signal="a", kind="regression", targets="mass")


def test_a_decorrelation_needs_labels_and_may_be_switched_off():
    with pytest.raises(ValueError, match="names no label"):
        Task(signal="a", decorrelate="pt", labels=("a", "b"), observables=(Observable("pt"),))
    plain = hgg.TASK.changed(decorrelate="none")
    assert (plain.decorrelate, plain.of, plain.decorrelate_observables) == ((), (), ())
    assert not plain.decorrelated(np.arange(3)).any()


@pytest.mark.parametrize("task", [hgg.TASK, showers.TASK, BINARY, DECAYS])
def test_a_task_survives_json(task):
    assert Task(**json.loads(json.dumps(task.to_json()))) == task


def test_titles_of_observables_fit_axes_and_sentences():
    assert (hgg.MASS.label, hgg.MASS.phrase) == ("Diphoton mass [GeV]", "diphoton mass")
    assert (Observable("ht", title="HT").label, Observable("ht", title="HT").phrase) == ("HT", "HT")


def test_the_config_changes_the_datasets_task():
    assert run_of(default.get_config()).task == hgg.TASK
    run = run_of(cms_b_binary.get_config())
    assert run.task == BINARY
    assert run.network.classes == 2


def test_inputs_of_other_events_or_without_their_observable_are_refused():
    config = showers_vgg.get_config()
    with pytest.raises(ValueError, match=r"kind is 'showers', but .* holds collisions"):
        experiment.of(config, hgg.TASK)
    with pytest.raises(ValueError, match=r"kind is 'images', but .* holds showers"):
        experiment.of(default.get_config(), showers.TASK)
    ht = dataclasses.replace(hgg.TASK, decorrelate="", of=(), observables=(Observable("ht"),))
    with pytest.raises(ValueError, match=r"normalization is 'mass'; .*\(ht\)"):
        experiment.of(default.get_config(), ht)
    config = default.get_config()
    config.published = "table_9"
    with pytest.raises(ValueError, match=r"published is 'table_9'; it is one of table_4"):
        experiment.of(config, hgg.TASK)


def test_showers_in_another_view_or_without_digis_are_refused():
    config, task = showers_vgg.get_config(), showers.TASK.to_json()
    assert experiment.task_of(config, {"task": task, "view": "crop", "digis": False}) == showers.TASK
    with pytest.raises(DatasetError, match=r"geometry is 'crop', but .* view 'barrel'"):
        experiment.task_of(config, {"task": task, "view": "barrel"})
    config.inputs.channels = ("digis",)
    with pytest.raises(DatasetError, match="has none"):
        experiment.task_of(config, {"task": task, "view": "crop", "digis": False})


def test_images_of_endcaps_that_were_not_simulated_are_refused():
    central = naming.HggConfig(name="any", train=1, validation=1).provenance()
    forward = naming.HggConfig(name="any", train=1, validation=1, category="central_forward").provenance()
    files = naming.HggFiles(name="any", train=1, validation=1).provenance()
    config = default.get_config()
    assert experiment.task_of(config, central) == hgg.TASK
    for geometry in ("ecal_centric", "hcal_centric"):
        config.inputs.geometry = geometry
        with pytest.raises(DatasetError, match=rf"geometry is '{geometry}'.* without them"):
            experiment.task_of(config, central)
        for whole in (forward, files):
            experiment.task_of(config, whole)
    config.inputs.kind = "kinematics"
    experiment.task_of(config, central)
