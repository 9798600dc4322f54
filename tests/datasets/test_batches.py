"""Batches: every event in its turn, the classes in equal parts, the same ones wherever a training starts."""

import concurrent.futures
import json
import os
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from ml_collections import config_dict

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets import batches as input_pipeline
from e2e_jax.datasets import preparation as dataset_module
from e2e_jax.datasets import reading
from e2e_jax.datasets.batches import epoch_batches, evaluation_batches, load_split, prefetch
from e2e_jax.datasets.layout import Layout
from e2e_jax.datasets.naming import BUILT_IN, HggConfig
from e2e_jax.datasets.preparation import DatasetError
from e2e_jax.events.diphotons import COLLECTIONS, Events, leading
from e2e_jax.files import digests
from e2e_jax.studies.hgg import LABELS
from tests.hgg_jobs import jobs
from tests.synthetic_tasks import produce


@pytest.fixture(scope="module")
def events():
    return Events.concatenate(produce(task) for task in jobs(10, seed=2))


def test_a_batch_is_a_function_of_seed_epoch_and_step_alone(events):
    whole = list(epoch_batches(events, 6, seed=1, epoch=2))
    assert len(whole) == input_pipeline.steps_per_epoch(events, 6) == 5
    for start in range(6):
        rest = list(epoch_batches(events, 6, seed=1, epoch=2, start=start))
        np.testing.assert_equal(rest, whole[start:])
    for other in (epoch_batches(events, 6, seed=1, epoch=3), epoch_batches(events, 6, seed=2, epoch=2)):
        assert not np.array_equal(next(other)["mass"], whole[0]["mass"])


def test_an_epoch_takes_each_event_once(events):
    masses = np.concatenate([batch["mass"] for batch in epoch_batches(events, 6, seed=1, epoch=0)])
    np.testing.assert_array_equal(np.sort(masses), np.sort(events.mass))


def test_every_part_of_a_batch_is_balanced(events):
    for batch in epoch_batches(events, 12, seed=1, epoch=0):
        for part in batch["label"].reshape(4, 3):
            assert sorted(part) == [0, 1, 2]


def test_rows_of_a_batch_belong_together(events):
    batch = next(epoch_batches(events, 3, seed=1, epoch=0))
    for i, mass in enumerate(batch["mass"]):
        (row,) = np.flatnonzero(events.mass == mass)
        np.testing.assert_array_equal(batch["photons"][i], leading(events.photons[[row]])[0])
        for name in COLLECTIONS:
            hits = getattr(events, name).event(row)
            for column, values in hits.items():
                np.testing.assert_array_equal(batch[name][column][i, : len(values)], values)
                assert not batch[name][column][i, len(values) :].any()


def test_shapes_are_those_of_the_dataset(events):
    lengths = Layout.padded(events).lengths
    assert all(
        length % 64 == 0 and length >= getattr(events, n).counts.max() for n, length in lengths.items()
    )
    for batch in [*epoch_batches(events, 6, 0, 0), *evaluation_batches(events, 6)]:
        assert {name: batch[name][next(iter(COLLECTIONS[name]))].shape[1] for name in COLLECTIONS} == lengths


def test_evaluation_covers_every_event_in_order(events):
    batches = list(evaluation_batches(events, 8))
    valid = np.concatenate([batch["valid"] for batch in batches])
    assert {len(batch["mass"]) for batch in batches} == {8}
    np.testing.assert_array_equal(np.concatenate([b["mass"] for b in batches])[valid], events.mass)
    assert np.isfinite(np.concatenate([b["mass"] for b in batches])).all()


def test_surplus_of_a_larger_class_waits_for_another_epoch(events):
    more = events[np.flatnonzero((events.label != 1) | (np.cumsum(events.label == 1) <= 4))]
    batches = list(epoch_batches(more, 6, seed=1, epoch=0))
    assert len(batches) == 2
    assert all(np.bincount(batch["label"]).tolist() == [2, 2, 2] for batch in batches)


@pytest.mark.parametrize(
    ("size", "message"),
    [(4, "multiple of 3"), (0, "multiple of 3"), (33, r"needs 11 of each.*class has 10.*to 30")],
)
def test_impossible_batch_sizes_are_refused_at_once(events, size, message):
    with pytest.raises(DatasetError, match=message):
        epoch_batches(events, size, seed=0, epoch=0)


def test_a_class_without_events_is_refused(events):
    with pytest.raises(DatasetError, match=r"no events.*h: 0"):
        epoch_batches(events[events.label != 1], 3, seed=0, epoch=0)


def test_the_thread_passes_errors_on_and_ends_with_its_consumer():
    def two_then_fail():
        yield from (1, 2)
        raise ArithmeticError("three is too many")

    received = []
    with pytest.raises(ArithmeticError, match="three"):
        received.extend(prefetch(two_then_fail))
    assert received == [1, 2]

    endless = prefetch(lambda: iter(int, 1))
    next(endless)
    endless.close()
    time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def configured(folder, name="cms_hgg/tiny"):
    return config_dict.ConfigDict({"dataset": {"name": name, "data_dir": str(folder)}})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the dataset `cms_hgg/tiny`."""
    folder = tmp_path_factory.mktemp("datasets")
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        tiny = HggConfig(name="tiny", train=6, validation=3, produce=produce)
        Builder(config=tiny, data_dir=folder, executor=executor).download_and_prepare()
    return folder


@pytest.fixture
def dataset(built, tmp_path):
    """A copy of that folder, and the dataset's own in it, to spoil."""
    shutil.copytree(built, tmp_path / "data")
    return tmp_path / "data", tmp_path / "data/cms_hgg/tiny/3.0.0"


def test_a_split_is_read_whole(built, monkeypatch):
    monkeypatch.setattr(reading, "READ_TOGETHER", 5)
    events = load_split(configured(built), "train", progress=False)
    assert np.bincount(events.label).tolist() == [6] * len(LABELS)
    assert (events.photons.counts == 2).all()
    assert events.mass.dtype == np.float32
    assert events.eb.cell.dtype == np.uint16


def test_a_dataset_of_another_category_is_refused(built):
    config = configured(built)
    config.dataset.category = "central"
    assert len(load_split(config, "validation", progress=False)) == 9
    config.dataset.category = "central_forward"
    with pytest.raises(DatasetError, match=r"is 'central_forward', but .*cms_hgg/tiny.*'central'.*forward_"):
        load_split(config, "validation", progress=False)


def test_events_that_the_config_leaves_out_are_not_returned(built):
    config = configured(built)
    config.dataset.classes, config.model = ("gamma_gamma", "h", ""), {"classes": 2}
    assert set(load_split(config, "validation", progress=False).label) == {0, 1}


def test_a_missing_dataset_is_built_first(tmp_path, monkeypatch):
    configs = (HggConfig(name="tiny", train=2, validation=1, produce=produce),)
    monkeypatch.setattr(BUILT_IN["cms_hgg"], "CONFIGS", configs)
    assert len(load_split(configured(tmp_path), "validation", progress=False)) == 3
    description = input_pipeline.describe(configured(tmp_path))
    assert description["origin"] == "fast simulation"
    assert description["version"] == "3.0.0"
    assert len(load_split(configured(tmp_path), "train", progress=False)) == 6


def test_the_fingerprint_is_that_of_the_events_of_each_split(built, dataset, tmp_path):
    folder, own = dataset
    one = dataset_module.fingerprint(built / "cms_hgg/tiny/3.0.0")
    assert one == dataset_module.fingerprint(own)
    assert one["train"] != one["validation"]
    other = HggConfig(name="tiny", train=7, validation=3, produce=produce)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        Builder(config=other, data_dir=tmp_path / "other", executor=executor).download_and_prepare()
    another = dataset_module.fingerprint(tmp_path / "other/cms_hgg/tiny/3.0.0")
    assert one["validation"] == another["validation"]
    assert one["train"] != another["train"]
    descriptions = [input_pipeline.describe(configured(at)) for at in (built, folder, tmp_path / "other")]
    assert len({description["fingerprint"] for description in descriptions}) == 2


@pytest.mark.parametrize("split", ["train", "validation"])
def test_changed_data_files_are_noticed(dataset, split):
    folder, own = dataset
    dataset_module.fingerprint(own)
    (shard,) = own.glob(f"*-{split}.*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    before = shard.stat()
    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    for use in (dataset_module.fingerprint, lambda _: input_pipeline.describe(configured(folder))):
        with pytest.raises(DatasetError, match=shard.name):
            use(own)


def test_unchanged_data_files_are_read_once(dataset, monkeypatch):
    _, own = dataset
    dataset_module.fingerprint(own)
    read = []
    monkeypatch.setattr(digests, "of_file", read.append)
    dataset_module.fingerprint(own)
    assert not read


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"[" * 100_000, b"\xff", "origin"])
def test_a_dataset_without_sound_metadata_is_refused(dataset, damage):
    folder, own = dataset
    path = own / "metadata.json"
    content = path.read_text()
    path.unlink()
    if damage == "origin":
        path.write_text(content.replace("fast simulation", "full simulation"))
    elif damage is not None:
        path.write_bytes(damage)
    for use in (load_split, input_pipeline.describe):
        with pytest.raises(DatasetError, match=r"metadata\.json"):
            use(configured(folder), *["train"] * (use is load_split))


def test_features_that_a_dataset_names_are_not_imported(dataset, tmp_path, monkeypatch):
    folder, own = dataset
    (tmp_path / "planted.py").write_text("raise SystemExit('code of the dataset was run')")
    monkeypatch.syspath_prepend(tmp_path)
    path = own / "features.json"
    path.write_text(path.read_text().replace("e2e_jax.datasets.features.DetectorImages", "planted.Feature"))
    assert len(load_split(configured(folder), "train", progress=False)) == 18
    assert "planted" not in sys.modules


@pytest.mark.parametrize("name", ["cms_hgg/huge", "cms_hgg", "ttbar/quick", ""])
def test_an_unknown_name_lists_what_there_is(built, name):
    with pytest.raises(DatasetError, match=r"cms_hgg/quick, cms_hgg/medium, cms_hgg/paper"):
        load_split(configured(built, name), "train")
    with pytest.raises(DatasetError, match=r"no split 'tests'.*train.*validation"):
        load_split(configured(built), "tests")


def test_another_version_is_not_used(dataset):
    folder, own = dataset
    own.rename(own.with_name("0.9.0"))
    with pytest.raises(DatasetError, match=r"version 0\.9\.0.*version 3\.0\.0.*e2e_jax.build"):
        load_split(configured(folder), "train")
    assert (own.with_name("0.9.0") / "dataset_info.json").exists()


def test_a_half_written_dataset_is_named(dataset):
    folder, own = dataset
    (shard,) = own.glob("*train*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"(?s){own} is damaged.*Remove the folder"):
        load_split(configured(folder), "train", progress=False)
    shard.unlink()
    with pytest.raises(DatasetError, match=rf"half-written: {shard.name} is missing.*Remove the folder"):
        load_split(configured(folder), "train", progress=False)
    (own / "dataset_info.json").unlink()
    with pytest.raises(DatasetError, match=r"half-written: it has no dataset_info\.json"):
        load_split(configured(folder), "train", progress=False)


def test_a_dataset_for_tensorflow_alone_is_named(dataset):
    folder, own = dataset
    for shard in own.glob("*.array_record*"):
        shard.rename(own / shard.name.replace("array_record", "tfrecord"))
    metadata = dataset_module.sealed_metadata(
        dataset_module.read_metadata(own), own, "cms_hgg", {"train": "", "validation": "", "test": ""}
    )
    (own / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(DatasetError, match="stored as tfrecord"):
        load_split(configured(folder), "train")
