"""Images of jets: every value reaches its pixel or the pixels of its tower, however the image is drawn."""

import jax
import numpy as np
import pytest

from e2e_jax import experiment
from e2e_jax.configs import jets_resnet
from e2e_jax.datasets.layout import Layout
from e2e_jax.detector import images, jet_pixels
from e2e_jax.detector.pixels import draw_event
from e2e_jax.events.jets import Jets
from e2e_jax.models import backend
from e2e_jax.models.forward import logits_function
from tests.jet_images import images_of, jets_of
from tests.objects import run_of

CHANNELS = ("tracks", "ecal", "hcal")


def test_the_sum_of_an_image_is_that_of_its_pixels_and_of_25_times_its_towers():
    jets = jets_of(4)
    drawn = np.asarray(images.make_images(jets, "jet", CHANNELS)["jet"])
    for event in range(4):
        hits = {name: getattr(jets, name).event(event) for name in jets.COLLECTIONS}
        for number, channel in enumerate(CHANNELS):
            sums = {n: of["value"][of["channel"] == number].sum() for n, of in hits.items()}
            expected = sums["pixels"] + 25 * sums["towers"]
            assert drawn[event, ..., number].sum() == pytest.approx(expected, rel=1e-5), channel
        np.testing.assert_allclose(draw_event(hits, jet_pixels.JET, CHANNELS), drawn[event], rtol=1e-6)


def test_flat_batches_and_channels_in_another_order_show_the_same():
    jets = jets_of(4)
    drawn = images.make_images(jets, "jet", CHANNELS)["jet"]
    flat = Layout.flat(jets, [np.array([[0, 1, 2, 3]])], 2).batch(jets)
    np.testing.assert_allclose(images.make_images(flat, "jet", CHANNELS)["jet"], drawn, rtol=1e-6)
    turned = images.make_images(jets, "jet", CHANNELS[::-1])["jet"]
    np.testing.assert_allclose(turned[..., ::-1], drawn, rtol=1e-6)


def test_blocks_of_equal_pixels_that_do_not_fill_towers_stay_pixels():
    image = np.zeros((1, 1, 125, 125))
    image[0, 0, 2:7, 3:8] = 1.5
    found = jet_pixels.sparse(image, [2])
    assert (len(found["pixels"]["cell"]), len(found["towers"]["cell"])) == (25, 0)
    image[:] = 0
    image[0, 0, 5:10, 120:125] = 1.5
    found = jet_pixels.sparse(image, [2])
    assert (len(found["pixels"]["cell"]), found["towers"]["cell"].tolist()) == (0, [25 + 24])
    image[0, 0, 9, 124] = 2
    assert len(jet_pixels.sparse(image, [2])["pixels"]["cell"]) == 25


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_every_platform_takes_images_with_an_odd_number_of_pixels(platform):
    run = run_of(jets_resnet.get_config())
    params = run.initial_params(jax.random.key(0))
    batch = jets_of(2).to_batch()
    expected = logits_function(run.network, run.inputs, backend.ANY)(params, batch)
    found = logits_function(run.network, run.inputs, platform)(params, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_jets_with_wrong_cells_or_channels_are_refused():
    for name, cells in jet_pixels.CELLS.items():
        for column, value in (("cell", cells), ("channel", len(jet_pixels.CHANNELS))):
            jets = jets_of(2)
            getattr(jets, name).columns[column][3] = value
            with pytest.raises(ValueError, match=f"{name}.{column}"):
                jets.validate()


def test_inputs_of_other_events_are_refused():
    jets, config = run_of(jets_resnet.get_config()).task, jets_resnet.get_config()
    for geometry, kind in (("barrel", "images"), ("jet", "showers"), ("jet", "kinematics")):
        config.inputs.geometry, config.inputs.kind = geometry, kind
        with pytest.raises(ValueError, match=r"config\.inputs"):
            experiment.of(config, jets)


def test_jets_without_any_hit_are_drawn_as_nothing():
    jets = Jets.from_images(np.zeros((2, 3, 125, 125)), range(3), 1, np.arange(2), np.zeros(2), {})
    assert not np.any(images.make_images(jets, "jet", CHANNELS)["jet"])
    assert not images_of(0).size
