"""Programs are loaded only from folders that no other user may write."""

import os

import pytest

from e2e_jax.files.cache import CacheError, cache_folder


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("open_to_others", [(), ("jax",)])
def test_a_folder_that_others_may_write_is_refused(tmp_path, monkeypatch, open_to_others):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("jax") == tmp_path / "e2e_jax" / "jax"
    (tmp_path / "e2e_jax").joinpath(*open_to_others).chmod(0o777)
    with pytest.raises(CacheError):
        cache_folder("jax")
