"""The flat arrays of a split equal the dataset; changed arrays are made again."""

import concurrent.futures
import errno
import itertools
import os
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from tensorflow_datasets.core.example_parser import ExampleParserNp

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets import flat_arrays, reading
from e2e_jax.datasets.builder import features_of
from e2e_jax.datasets.features import round_mantissa, stored
from e2e_jax.datasets.naming import HggConfig
from e2e_jax.datasets.preparation import DERIVED, derived_folders
from e2e_jax.datasets.reading import open_split, read_split, split_parts
from e2e_jax.devices import placement
from e2e_jax.errors import DatasetError
from e2e_jax.events.diphotons import COLLECTIONS, Events
from e2e_jax.files import digests
from e2e_jax.studies import hgg
from tests.event_strategies import collision_events
from tests.synthetic_tasks import produce


def build(data_dir, **sizes):
    config = HggConfig(name="tiny", **({"train": 6, "validation": 3} | sizes), produce=produce)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        Builder(config=config, data_dir=data_dir, executor=executor).download_and_prepare()
    return data_dir / "cms_hgg/tiny/3.0.0"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def folder(built, tmp_path):
    """A copy of the dataset, to change, that nobody has opened."""
    return shutil.copytree(
        built, tmp_path / "data/cms_hgg/tiny/3.0.0", ignore=shutil.ignore_patterns(DERIVED)
    )


@pytest.fixture
def reads(monkeypatch):
    """The splits that were read example by example, in order."""
    calls = []

    def noted(folder, split, *rest, **options):
        calls.append(split)
        return split_parts(folder, split, *rest, **options)

    monkeypatch.setattr(reading, "split_parts", noted)
    return calls


def assert_same(some, others):
    for (name, one), other in zip(some.arrays().items(), others.arrays().values(), strict=True):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)


def kept(folder, split="train"):
    """The folders of the flat arrays of a split."""
    return [path for path in (folder / ".e2e_jax").glob(f"{split}-*") if path.is_dir()]


def test_the_files_of_a_build_count_as_verified_on_this_machine(tmp_path):
    folder = build(tmp_path, train=2, validation=1)
    noted = digests.read_sealed(derived_folders(folder)[0] / digests.CHECKED)
    assert set(map(pathlib.Path, noted)) == set(folder.glob("*.array_record*"))
    damaged = next(folder.glob("*train.array_record*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.raises(DatasetError, match=damaged.name):
        open_split(folder, "train", progress=False)


def test_a_split_is_read_once_and_then_mapped(folder, reads):
    expected = read_split(folder, "train", progress=False)
    reads.clear()
    for _ in range(3):
        events = open_split(folder, "train", progress=False)
        assert_same(events, expected)
        assert not events.eb.energy.flags.writeable
    assert reads == ["train"]
    open_split(folder, "validation", progress=False)
    assert reads == ["train", "validation"]


def test_mapped_events_make_batches_and_go_to_the_device(folder):
    mapped, read = open_split(folder, "train", progress=False), read_split(folder, "train", progress=False)
    rows = np.array([5, 0, 17])
    np.testing.assert_equal(mapped[rows].to_batch(), read[rows].to_batch())
    packed = placement.pack(mapped)
    assert packed["eb"]["energy"] is mapped.eb.energy  # no copy
    np.testing.assert_equal(packed, placement.pack(read))
    assert_same(mapped.validate(), read)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eb.energy.npy", "label.npy", "tracks.npy", "manifest.json"])
@pytest.mark.parametrize(
    "damage",
    [flip, pathlib.Path.unlink, lambda path: os.truncate(path, 10), lambda path: path.write_bytes(b"")],
    ids=["flip", "remove", "cut", "empty"],
)
def test_changed_flat_arrays_are_made_again(folder, reads, name, damage):
    expected = open_split(folder, "train", progress=False)
    (arrays,) = kept(folder)
    # Else the test would change what `expected` maps.
    copy = Events.from_arrays({name: values.copy() for name, values in expected.arrays().items()})
    damage(arrays / name)
    assert_same(open_split(folder, "train", progress=False), copy)
    assert reads == ["train", "train"]
    open_split(folder, "train", progress=False)
    assert reads == ["train", "train"]


def test_flat_arrays_of_another_dataset_are_not_used(folder, reads, tmp_path):
    other = build(tmp_path / "other", train=7)
    open_split(folder, "train", progress=False)
    open_split(other, "train", progress=False)
    (own,), (foreign,) = kept(folder), kept(other)
    shutil.rmtree(own)
    shutil.copytree(foreign, own)
    assert len(open_split(folder, "train", progress=False)) == 18
    assert reads == ["train"] * 3


def test_stale_flat_arrays_go_and_those_with_other_collections_stay(folder, reads, monkeypatch):
    open_split(folder, "train", progress=False)
    assert open_split(folder, "train", progress=False, unread=("hcal",)).hcal.counts.sum() == 0
    assert len(kept(folder)) == 2
    monkeypatch.setattr(reading, "LAYOUT", -1)
    open_split(folder, "train", progress=False)
    assert len(kept(folder)) == 2
    assert reads == ["train"] * 3


def test_a_read_only_dataset_has_its_flat_arrays_in_the_users_cache(folder, reads, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Also root cannot write into a file's folder.
    (folder / ".e2e_jax").write_text("no folder")
    for _ in range(2):
        assert len(open_split(folder, "train", progress=False)) == 18
    assert reads == ["train"]
    assert list(derived_folders(folder)[1].glob("train-*"))
    assert derived_folders(folder)[1].is_relative_to(tmp_path / "cache")


def test_without_a_place_for_flat_arrays_a_split_is_read_into_memory(folder, reads, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder / ".e2e_jax").write_text("no folder")
    for _ in range(2):
        with pytest.warns(UserWarning, match="reads it anew"):
            assert len(open_split(folder, "train", progress=False)) == 18
    assert reads == ["train"] * 2


def test_a_full_disk_is_told_and_the_split_is_read_all_the_same(folder, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(flat_arrays, "write", write)
    with pytest.warns(UserWarning, match=r"not kept \(No space left on device\)"):
        assert len(open_split(folder, "train", progress=False)) == 18


def test_events_are_validated_before_they_are_kept(tmp_path):
    def stop(events, labels):
        raise ValueError("not valid")

    folder = build(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Events, "validate", stop)
        with pytest.raises(ValueError, match="not valid"):
            open_split(folder, "train", progress=False)
    assert not kept(folder)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(collision_events())
def test_any_events_survive_storage(events):
    features = tfds.features.FeaturesDict(features_of(hgg.STUDIES["central"]))
    parser = ExampleParserNp(stored(Events, ["mass"]))
    examples = [features.serialize_example(features.encode_example(e)) for e in events.examples()]
    read = Events.from_examples(map(parser.parse_example, examples), ["mass"]).validate()
    for name, values in events.arrays().items():
        hits = name.partition(".")[0] in COLLECTIONS and values.dtype.kind == "f"
        np.testing.assert_array_equal(
            read.arrays()[name], round_mantissa(values) if hits else values, err_msg=name
        )
    assert all(np.isfinite(values).all() for values in read.arrays().values())

    np.testing.assert_allclose(read.tracks.pt, events.tracks.pt, rtol=2**-12, atol=1e-41)

    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        for cuts in ([0, len(read)], [0, len(read) // 2, len(read) // 2, len(read)]):
            parts = [read[first:end] for first, end in itertools.pairwise(cuts)]
            flat_arrays.write(place / "arrays", parts, "key", [place])
            mapped = flat_arrays.open_mapped(place / "arrays", Events, "key", [place])
            flat_arrays.read_at_random(mapped)
            assert_same(mapped, read)
        assert flat_arrays.open_mapped(place / "arrays", Events, "another", [place]) is None
