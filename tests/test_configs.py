"""The configs derive from one default, and carry the paper's numbers."""

import importlib
from pathlib import Path

import jax
import pytest

from e2e_jax.checkpoint import initial_params

NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.py"))
CLASSIFIERS = [name for name in NAMES if name not in ("default", "__init__")]


def get_config(name, *size):
    return importlib.import_module(f"configs.{name}").get_config(*size)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_is_named_like_its_file_and_has_the_default_fields(name):
    default, config = get_config("default"), get_config(name)
    assert config.name == name
    assert set(dict(config.iteritems())) == set(dict(default.iteritems()))


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("size", ["quick", "medium", "paper"])
def test_a_size_is_a_dataset(name, size):
    config = get_config(name, size)
    assert (config.size, config.dataset.name) == (size, f"cms_hgg/{size}")


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_size_names_those_that_exist(name):
    with pytest.raises(ValueError, match=r"no size 'huge'.*quick, medium, paper"):
        get_config(name, "huge")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_paper_size_trains_as_in_section_5_3(name):
    train = get_config(name, "paper").train
    assert (train.batch_size, train.learning_rate, train.patience) == (360, 5e-4, 5)


def test_decorrelation_is_on_but_for_the_mass_aware():
    for name in set(CLASSIFIERS) - {"eb_mass_aware"}:
        config = get_config(name, "paper")
        assert (config.cvm.strength, config.cvm.neighbors, config.cvm.limit) == (0.15, 12, 0.002)
        assert config.inputs.normalisation == "mass"
    aware = get_config("eb_mass_aware")
    assert (aware.cvm.strength, aware.inputs.normalisation) == (0.0, "none")


def test_the_inputs_of_the_mass_aware_are_as_large_as_those_of_eb_at_the_higgs_mass():
    assert get_config("eb_mass_aware").inputs.scale.ecal == pytest.approx(
        get_config("eb").inputs.scale.ecal / 125
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("eb", 84_739), ("eb_mass_aware", 84_739), ("cms_b", 86_307), ("four_momentum", 133_891)],
)
def test_makes_the_papers_network(name, parameters):
    params = jax.eval_shape(lambda: initial_params(get_config(name), jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters


def test_a_new_field_is_refused():
    with pytest.raises(AttributeError, match='Did you mean "epochs"'):
        get_config("eb").train.epoch = 3
