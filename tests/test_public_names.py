"""The names at the top of the package: what they are, and that importing the package costs nothing."""

import subprocess
import sys

import pytest

import e2e_jax
from tests.aodsim_file import random_events, write_aodsim

UNLOADED = """
import sys
import e2e_jax
loaded = {"jax", "flax", "numpy", "tensorflow", "uproot"} & set(sys.modules)
assert not loaded, loaded
assert set(e2e_jax.__all__) <= set(dir(e2e_jax))
"""


def test_importing_the_package_imports_no_library():
    done = subprocess.run([sys.executable, "-c", UNLOADED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", e2e_jax.__all__)
def test_every_name_is_documented_and_a_function_or_a_class(name):
    assert callable(getattr(e2e_jax, name))
    assert f"    {name}(" in e2e_jax.__doc__


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'read_event'"):
        _ = e2e_jax.read_event


def test_the_events_of_a_file_become_images(tmp_path):
    events = random_events(3, seed=1)
    write_aodsim(tmp_path / "file.root", events)
    images = e2e_jax.make_images(e2e_jax.read_events(tmp_path / "file.root"), "barrel")
    assert images["barrel"].shape == (3, 170, 360, 3)
