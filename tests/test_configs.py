"""The configs derive from one default, and carry the paper's numbers."""

import importlib
from pathlib import Path

import jax
import pytest

from e2e_jax.detector.shower_shapes import NAMES as NAMES_OF_SHAPES
from tests.objects import run_of

NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("[!_]*.py"))
CLASSIFIERS = [name for name in NAMES if name != "default"]


def get_config(name, *size):
    return importlib.import_module(f"e2e_jax.configs.{name}").get_config(*size)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_is_named_like_its_file_and_has_the_default_fields(name):
    default, config = get_config("default"), get_config(name)
    assert config.name == name
    assert set(dict(config.iteritems())) == set(dict(default.iteritems()))


FORWARD = {"ecal", "ecal_mass_aware", "cms_i", "cms_ii"}
"""The classifiers of the category central+forward alone."""

SHOWERS = [name for name in CLASSIFIERS if name.startswith("showers_")]
JETS = [name for name in CLASSIFIERS if name.startswith(("jets_", "tops_"))]
OTHERS = {"photons_mass"}
"""Of studies of their own."""

DIPHOTON = [name for name in CLASSIFIERS if name not in {*SHOWERS, *JETS, *OTHERS}]


@pytest.mark.parametrize("name", DIPHOTON)
@pytest.mark.parametrize("size", ["quick", "medium", "paper"])
def test_a_size_is_a_dataset(name, size):
    config = get_config(name, size)
    dataset = f"cms_hgg/forward_{size}" if name in FORWARD else f"cms_hgg/{size}"
    published = "table_7" if name in FORWARD else "table_6"
    assert (config.size, config.dataset.name, config.published) == (size, dataset, published)


@pytest.mark.parametrize("name", ["four_momentum", "high_level", "whole_event"])
def test_classifiers_without_images_know_both_categories(name):
    config = get_config(name, "forward_medium")
    assert (config.name, config.size) == (name, "forward_medium")
    assert (config.dataset.name, config.published) == ("cms_hgg/forward_medium", "table_7")
    assert (config.decorrelation.strength, config.cvm.limit) == (0.2, 0.004)
    assert config.train == get_config(name, "medium").train
    with pytest.raises(ValueError, match=r"no size 'huge'"):
        get_config(name, "forward_huge")


def test_all_shower_shapes_are_inputs_with_a_scale():
    inputs = get_config("high_level").inputs
    assert inputs.shapes == NAMES_OF_SHAPES
    assert set(inputs.standard) == set(NAMES_OF_SHAPES)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_size_names_those_that_exist(name):
    with pytest.raises(ValueError, match=r"no size 'huge'.*quick, medium, paper"):
        get_config(name, "huge")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("showers_vgg", "crops"), ("showers_conv_lstm", "crops"), ("showers_fcn", "crops")),
        *(("showers_resnet15", "crops"), ("showers_transformer", "crops")),
        *(("showers_resnet", "barrel"), ("showers_pairs", "pairs")),
    ],
)
@pytest.mark.parametrize("size", ["quick", "medium", "paper"])
def test_showers_have_datasets_of_their_own_and_no_mass(name, kind, size):
    config = get_config(name, size)
    dataset, inputs = config.dataset, config.inputs
    assert dataset.name == f"ecal_showers/{kind}_{size}"
    assert config.published == ("table_4" if kind == "crops" else "table_5")
    assert (config.decorrelation.strength, config.cvm.limit, inputs.normalization) == (0.0, 1.0, "none")
    assert (inputs.kind, inputs.geometry) == ("showers", "crop" if kind == "crops" else "barrel")
    assert set(inputs.channels) <= set(inputs.scale)


@pytest.mark.parametrize("name", DIPHOTON)
def test_the_paper_size_trains_as_in_section_5_3(name):
    train = get_config(name, "paper").train
    assert (train.batch_size, train.learning_rate, train.patience) == (360, 5e-4, 5)


def test_decorrelation_is_on_but_for_the_mass_aware():
    for name in set(DIPHOTON) - {"eb_mass_aware", "ecal_mass_aware"}:
        config = get_config(name, "paper")
        strength, limit = (0.2, 0.004) if name in FORWARD else (0.15, 0.002)
        assert (config.decorrelation.strength, config.decorrelation.neighbors, config.cvm.limit) == (
            strength,
            12,
            limit,
        )
        assert config.inputs.normalization == "mass"
    for name in ("eb_mass_aware", "ecal_mass_aware"):
        aware = get_config(name)
        assert (aware.decorrelation.strength, aware.inputs.normalization) == (0.0, "none")


@pytest.mark.parametrize("name", ["eb", "ecal"])
def test_the_inputs_of_the_mass_aware_are_as_large_at_the_higgs_mass(name):
    aware, plain = get_config(f"{name}_mass_aware"), get_config(name)
    assert aware.inputs.scale.ecal == pytest.approx(plain.inputs.scale.ecal / 125)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_batch_of_each_size_holds_the_classes_in_equal_parts(name):
    parts = run_of(get_config(name)).task.parts
    for size in ("quick", "medium", "paper"):
        assert get_config(name, size).train.batch_size % parts == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        *(("eb", 84_739), ("eb_mass_aware", 84_739), ("cms_b", 86_307), ("four_momentum", 133_891)),
        *(("ecal", 299_747), ("ecal_mass_aware", 299_747), ("cms_i", 304_451), ("cms_ii", 86_307)),
        *(("showers_vgg", 203_250), ("showers_conv_lstm", 69_510), ("showers_fcn", 2_753_794)),
        *(("showers_resnet", 84_739 - 33), ("showers_pairs", 84_739 - 33)),
        *(("showers_resnet15", 84_739 - 33), ("photons_mass", 84_739 - 2 * 33)),
        *(("tops_resnet", 90_194), ("showers_transformer", 80_642)),
        ("whole_event", 56_667),
        *(("cms_b_binary", 86_307 - 33), ("high_level", (5 + 18 + 1) * 256 + 2 * 257 * 256 + 257 * 3)),
    ],
)
def test_makes_the_papers_network(name, parameters):
    params = jax.eval_shape(lambda: run_of(get_config(name)).initial_params(jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters


def test_a_new_field_is_refused():
    with pytest.raises(AttributeError, match='Did you mean "epochs"'):
        get_config("eb").train.epoch = 3
