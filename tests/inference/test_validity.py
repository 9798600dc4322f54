"""Events that no source of the training can give are refused, or get NaN, in every input form."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from e2e_jax import experiment
from e2e_jax.configs import showers_vgg
from e2e_jax.detector import geometry
from e2e_jax.detector.images import make_images
from e2e_jax.inference import validity
from e2e_jax.inference.export import signature, stablehlo
from e2e_jax.inference.prediction import Classifier, Predictor, padded_batches
from e2e_jax.sources.root import aodsim
from e2e_jax.sources.root.rec_hits import MAX_ENERGY
from e2e_jax.studies import loading
from e2e_jax.study import photons
from tests.aodsim_file import real_file
from tests.objects import classifier_of, random_params, run_of
from tests.showers_of_cells import showers_of
from tests.synthetic import image_config, kinematics_config, sample

ROOT = Path(__file__).parents[2]

BAD = 4
"""The event that a test changes."""


def mass(value):
    return lambda events: events.mass.__setitem__(BAD, value)


def hit(collection, column, value):
    def spoil(events):
        ragged = getattr(events, collection)
        ragged.columns[column][ragged.offsets[BAD]] = value

    return spoil


SPOILT = {
    **{f"mass {value}": mass(value) for value in (0, -125, 1e-30, np.nan, np.inf, 1e6)},
    **{f"hit of {value} GeV": hit("eb", "energy", value) for value in (1e5, 3e38, -1e9, np.nan, -np.inf)},
    **{f"track of {value} GeV": hit("tracks", "pt", value) for value in (1e5, np.nan)},
    "track without direction": hit("tracks", "eta", np.nan),
    "beyond the barrel": hit("eb", "cell", geometry.EB_CELLS),
    "beyond the endcaps": hit("ee", "cell", geometry.EE_CELLS),
    "no endcap crystal": hit("ee", "cell", 1),
    "no tower": hit("hcal", "cell", 1),
    "beyond the HCAL": hit("hcal", "cell", geometry.HCAL_CELLS),
    "photon without direction": lambda events: events.photons.phi.__setitem__(
        events.photons.offsets[BAD], np.nan
    ),
}


@pytest.fixture(scope="module")
def classifier():
    """A classifier that uses all detectors; only the check uses the mass."""
    config = image_config()
    config.inputs.geometry, config.inputs.channels = "hcal_centric", ("tracks", "ecal", "hcal")
    config.inputs.normalization = "none"
    return classifier_of(config)


@pytest.fixture(scope="module")
def exported(classifier):
    """The exported file of hits: its shapes, and a function that scores."""
    shapes = signature.input_shapes(classifier, "hits")
    return shapes, stablehlo.scorer(stablehlo.to_bytes(classifier, shapes))


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILT)
def test_a_record_and_its_batch_are_refused_by_event_or_get_nan(classifier, how):
    events = sample(per_class=2)
    expected = classifier.predict(events)
    SPOILT[how](events)
    others = np.arange(len(events)) != BAD
    for given in (events, events.to_batch()):
        with pytest.raises(ValueError, match=rf"^Event {BAD}\b"):
            classifier.predict(given)
        scored = classifier.predict(given, invalid="nan")
        assert np.isnan(scored[BAD]).all()
        np.testing.assert_allclose(scored[others], expected[others], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("how", [name for name in SPOILT if not name.startswith("photon")])
def test_an_exported_file_gives_nan_for_the_same_events(classifier, exported, how):
    events, (shapes, score) = sample(per_class=2), exported
    SPOILT[how](events)
    scored = np.asarray(score(signature.as_inputs(events.to_batch(), shapes)))
    np.testing.assert_allclose(scored, classifier.predict(events, invalid="nan"), atol=1e-5)
    assert np.isnan(scored[BAD]).all()


@pytest.mark.slow
def test_an_onnx_file_gives_nan_for_the_same_events():
    onnx_file = pytest.importorskip(
        "e2e_jax.inference.export.onnx_file", reason="the package onnx is not installed"
    )
    pytest.importorskip("onnxruntime")
    config = image_config()
    config.inputs.geometry, config.inputs.channels = "hcal_centric", ("ecal", "hcal")
    classifier = classifier_of(config)
    shapes = signature.input_shapes(classifier, "hits")
    score = onnx_file.scorer(onnx_file.to_bytes(classifier, shapes))
    seen = [name for name in SPOILT if not name.startswith(("track", "photon"))]
    for how in seen:
        events = sample(per_class=2)
        SPOILT[how](events)
        scored = score(signature.as_inputs(events.to_batch(), shapes))
        np.testing.assert_array_equal(np.isnan(scored).all(axis=1), np.arange(6) == BAD, err_msg=how)
        np.testing.assert_allclose(scored, classifier.predict(events, invalid="nan"), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["stablehlo", "onnx_file"])
def test_images_that_are_not_finite_and_masses_that_are_none_have_nan(form):
    module = pytest.importorskip(f"e2e_jax.inference.export.{form}")
    config = image_config()
    config.inputs.normalization = "none"
    classifier, events = classifier_of(config), sample(per_class=2)
    images = {"barrel": np.array(make_images(events, channels=config.inputs.channels)["barrel"])}
    images["barrel"][0, 3, 4, 1], images["barrel"][1, 0, 0, 0] = np.nan, 2 * MAX_ENERGY
    images["mass"] = np.array([125, 125, 0, -3, 125, 125], np.float32)
    shapes = signature.input_shapes(classifier, "images")
    scored = np.asarray(module.scorer(module.to_bytes(classifier, shapes))(images))
    assert np.isnan(scored).all(axis=1).tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(classifier.predict(images, invalid="nan"), scored, atol=1e-5)


def test_negative_cells_are_refused_in_an_exported_file(exported):
    shapes, score = exported
    batch = signature.as_inputs(sample(per_class=1).to_batch(), shapes)
    batch["eb"]["cell"] = batch["eb"]["cell"].copy()
    batch["eb"]["cell"][1, 0] = -7
    assert np.isnan(score(batch)).all(axis=1).tolist() == [False, True, False]


def test_padding_is_legal_and_a_hit_in_its_cell_is_not():
    """Padding has cell 0, where the endcaps have no crystal, and energy 0."""
    events, run = sample(per_class=1), run_of(image_config())
    batch = events.to_batch(dict.fromkeys(events.COLLECTIONS, 64))
    assert not validity.is_invalid(batch, run.task, run.inputs).any()
    batch["ee"]["energy"][2, -1] = 1.0
    assert validity.is_invalid(batch, run.task, run.inputs).tolist() == [False, False, True]


def test_ids_that_do_not_fit_into_32_bits_are_refused():
    batch, run = sample(per_class=1).to_batch(), run_of(image_config())
    batch["eb"]["cell"] = batch["eb"]["cell"].astype(np.int64)
    batch["eb"]["cell"][1, 0] += 2**32
    assert validity.is_invalid(batch, run.task, run.inputs).tolist() == [False, True, False]


def test_showers_have_no_rule_of_mass():
    run = run_of(showers_vgg.get_config())
    showers = showers_of([[3], [1023]], [[1], [2]])
    assert not validity.is_invalid(showers, run.task, run.inputs).any()
    showers.crystals.columns["energy"][1] = 2 * MAX_ENERGY
    assert validity.is_invalid(showers, run.task, run.inputs).tolist() == [False, True]


def without_photons(events, rows, first=0):
    """The events, some of them without the photons above a rank."""
    pt = events.photons.pt.copy()
    for row in rows:
        pt[events.photons.offsets[row] + first : events.photons.offsets[row + 1]] = 0
    photons = dataclasses.replace(events.photons, columns={**events.photons.columns, "pt": pt})
    return dataclasses.replace(events, photons=photons.filter(pt > 0))


@pytest.mark.parametrize(
    ("normalization", "first", "refused"), [("none", 0, 0), ("sum_pt", 1, 0), ("sum_pt", 0, 1)]
)
def test_images_need_the_photons_that_they_are_divided_by(normalization, first, refused):
    config = image_config()
    config.inputs.normalization = normalization
    events = without_photons(sample(per_class=2), [BAD], first)
    scored = classifier_of(config).predict(events, invalid="nan")
    assert np.isnan(scored).any(axis=1).tolist() == [row == BAD and bool(refused) for row in range(6)]


@pytest.mark.parametrize("first", [0, 1])
def test_kinematics_need_both_photons(first):
    events = without_photons(sample(per_class=2), [BAD], first)
    scored = classifier_of(kinematics_config()).predict(events, invalid="nan")
    assert np.isnan(scored).any(axis=1).tolist() == [row == BAD for row in range(6)]


@pytest.mark.slow
def test_events_of_a_study_without_photons_and_mass_have_probabilities():
    config = image_config()
    config.inputs.normalization = "none"
    study, events = loading.load(str(ROOT / "examples" / "tops.py")), without_photons(sample(2), range(6))
    energy = np.linspace(300, 800, 6).astype(np.float32)
    events = dataclasses.replace(events, observables={"sum_et": energy}, label=events.label % 2)
    run = experiment.of(config, study.task)
    predictor = Predictor(run.task, run.network, run.inputs, run.together, run.setup)
    classifier = Classifier(run.name, run.task, run.inputs, run.network, random_params(run), predictor)
    np.testing.assert_allclose(classifier.predict(events).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(classifier.predict(events.to_batch()), classifier.predict(events))


def test_all_events_may_be_invalid_and_the_choice_is_checked():
    classifier, events = classifier_of(kinematics_config()), sample(per_class=1)
    events.mass[:] = 0
    assert np.isnan(classifier.predict(events, invalid="nan")).all()
    with pytest.raises(ValueError, match="'raise', 'nan'"):
        classifier.predict(events, invalid="ignore")


def test_the_address_of_an_event_is_in_the_error():
    classifier, events = classifier_of(kinematics_config()), sample(per_class=1)
    events.run[1], events.lumi[1], events.event[1], events.mass[1] = 194533, 7, 123456, 0
    with pytest.raises(ValueError, match=r"run 194533, lumi 7, event 123456"):
        classifier.predict(events)


def test_events_of_the_real_file_without_two_photons_are_refused():
    events = aodsim.read_events(real_file())
    events = dataclasses.replace(events, observables=dict(photons()(events).observables))
    classifier = classifier_of(image_config())
    with pytest.raises(ValueError, match=r"Event 0 .*6 of these 10 events"):
        classifier.predict(events)
    scored = classifier.predict(events, invalid="nan")
    np.testing.assert_array_equal(np.isnan(scored).any(axis=1), events.mass == 0)


# Inconsistent columns


def replaced(ragged, **changes):
    return dataclasses.replace(ragged, **changes)


def without_column(events):
    columns = {name: values for name, values in events.eb.columns.items() if name != "energy"}
    return dataclasses.replace(events, eb=replaced(events.eb, columns=columns))


RECORDS = {
    "'mass'": lambda e: dataclasses.replace(e, observables={"mass": e.mass[:-1]}),
    "'photons'": lambda e: dataclasses.replace(e, photons=e.photons[:-1]),
    "'label'": lambda e: dataclasses.replace(e, label=e.label[:, None]),
    "'eb.energy'": without_column,
    "'eb.cell'": lambda e: dataclasses.replace(
        e, eb=replaced(e.eb, columns={**e.eb.columns, "cell": e.eb.cell[:-2]})
    ),
    "'hcal'": lambda e: dataclasses.replace(e, hcal=replaced(e.hcal, offsets=e.hcal.offsets[::-1])),
    "'ee'": lambda e: dataclasses.replace(e, ee=e.ee[:3]),
}


@pytest.mark.parametrize("name", RECORDS)
def test_columns_of_a_record_that_do_not_fit_are_named(classifier, name):
    with pytest.raises(ValueError, match=name):
        classifier.predict(RECORDS[name](sample(per_class=2)))


BATCHES = {
    "'mass'": {"mass": np.full((6, 2), 125.0)},
    "'photons'": {"photons": np.ones((6, 3))},
    "'eb'": {"eb": {"cell": np.zeros((6, 4), np.int32), "energy": np.zeros((6, 5))}},
    "'eb.cell'": {"eb": {"cell": np.zeros((6, 4)), "energy": np.zeros((6, 4))}},
    "'hcal'": {"hcal": np.zeros((6, 4))},
    "'tracks'": {"tracks": {name: np.zeros(6) for name in ("pt", "eta", "phi")}},
    "'ee.energy'": {"ee": {"cell": np.zeros((6, 4), np.int32), "energy": np.full((6, 4), "x")}},
}


@pytest.mark.parametrize("name", BATCHES)
def test_columns_of_a_batch_that_do_not_fit_are_named(classifier, name):
    with pytest.raises(ValueError, match=name):
        classifier.predict(sample(per_class=2).to_batch() | BATCHES[name])


# Long events


@pytest.fixture
def shapes_seen():
    """A classifier that returns the number of tracks, and the padded shapes of its network's inputs."""
    seen = []

    def predict(params, events):
        probabilities = np.empty((len(events), 3), np.float32)
        for batch, rows in padded_batches(events, 240):
            seen.append(batch["tracks"]["pt"].shape)
            probabilities[rows] = (batch["tracks"]["pt"] > 0).sum(axis=1)[: len(rows), None]
        return probabilities

    return dataclasses.replace(classifier_of(kinematics_config()), _predict=predict), seen


def with_tracks(counts):
    events = sample(per_class=-(-len(counts) // 3))[: len(counts)]
    total = int(np.sum(counts))
    tracks = {"pt": np.ones(total, np.float32), "eta": np.zeros(total, np.float32)}
    tracks = type(events.eb).from_counts(np.array(counts), {**tracks, "phi": tracks["eta"]})
    return dataclasses.replace(events, tracks=tracks)


def test_an_event_of_many_hits_is_padded_alone(shapes_seen):
    """One of 300 events has 300,000 tracks; padded together they would be 90 million."""
    classifier, seen = shapes_seen
    counts = np.full(300, 50)
    counts[[7, 150]] = 300_000, 20_000
    scored = classifier.predict(with_tracks(counts))
    np.testing.assert_array_equal(scored[:, 0], counts)
    assert sum(rows * length for rows, length in seen) < 2 * counts.sum()


def test_the_entries_of_a_batch_are_bounded(shapes_seen):
    classifier, seen = shapes_seen
    counts = np.full(40, 60_000)
    np.testing.assert_array_equal(classifier.predict(with_tracks(counts))[:, 0], counts)
    assert max(rows * length for rows, length in seen) < 2**21


def test_usual_events_are_padded_together(shapes_seen):
    classifier, seen = shapes_seen
    classifier.predict(with_tracks(np.arange(10, 1210)))
    assert len(seen) == 1200 / 240


def test_a_long_event_has_the_probabilities_it_has_alone():
    classifier = classifier_of(image_config())
    events = with_tracks([5, 9000, 7])
    together = classifier.predict(events)
    alone = np.concatenate([classifier.predict(events[[row]]) for row in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert jax.device_get(together).shape == (3, 3)


@pytest.mark.parametrize("config", [image_config(), kinematics_config()], ids=["images", "kinematics"])
@pytest.mark.parametrize("invalid", ["raise", "nan"])
def test_events_without_the_observable_that_is_read_are_refused(config, invalid):
    config.inputs.normalization = "mass"
    classifier, events = classifier_of(config), dataclasses.replace(sample(3), observables={})
    for given in (events, events.to_batch()):
        with pytest.raises(ValueError, match=r"no (observable )?'mass'.*select="):
            classifier.predict(given, invalid=invalid)
