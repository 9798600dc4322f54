"""Files of arrays are read back exactly, and damaged or oversized files are rejected."""

import io
import zipfile

import numpy as np
import pytest

from e2e_jax.files import npz
from e2e_jax.files.npz import NpzError

ARRAYS = {
    "a": np.arange(12.0).reshape(3, 4),
    "b.c": np.zeros((0, 2), np.uint16),
    "text": np.array("ten"),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_come_back_with_their_types_and_shapes(tmp_path, compressed):
    npz.write(tmp_path / "new" / "a.npz", ARRAYS, compressed)
    found = npz.read(tmp_path / "new" / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


def test_a_file_that_expands_beyond_the_limit_is_refused(tmp_path):
    npz.write(tmp_path / "a.npz", {"zeros": np.zeros(10**7, np.uint8)})
    assert (tmp_path / "a.npz").stat().st_size < 10**5
    with pytest.raises(NpzError, match=r"a\.npz .* over the limit"):
        npz.read(tmp_path / "a.npz", max_bytes=10**6)


def declaring(path, shape, content=b"", dtype="<f8"):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": dtype})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + content)
    return path


@pytest.mark.parametrize("shape", [(10**15,), (2,), (-1,), ()])
def test_a_header_that_declares_another_size_is_refused_before_any_memory_is_taken(tmp_path, shape):
    with pytest.raises(NpzError):
        npz.read(declaring(tmp_path / "a.npz", shape, bytes(24)))


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}, None], object))
    with pytest.raises(NpzError, match="Python objects"):
        npz.read(tmp_path / "a.npz")


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path):
    npz.write(tmp_path / "a.npz", {"a": np.arange(50)})
    content = (tmp_path / "a.npz").read_bytes()
    noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            found = npz.read(tmp_path / "a.npz")
        except NpzError:
            noticed += 1
        else:
            assert "a" not in found or np.array_equal(found["a"], np.arange(50))
    assert noticed > len(content) / 2
