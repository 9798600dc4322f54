"""Batches contain every event once and the classes in equal parts, and do not depend on the starting step."""

import concurrent.futures
import json
import os
import shutil
import sys

import numpy as np
import pytest

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets import batches, reading
from e2e_jax.datasets import preparation as dataset_module
from e2e_jax.datasets.batches import Sampling
from e2e_jax.datasets.layout import Layout
from e2e_jax.datasets.naming import BUILT_IN, HggConfig
from e2e_jax.datasets.splits import StoredDataset
from e2e_jax.errors import DatasetError
from e2e_jax.events.diphotons import COLLECTIONS, Events, leading
from e2e_jax.files import digests
from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from e2e_jax.study import Task
from tests.hgg_jobs import jobs
from tests.synthetic_tasks import produce


def epoch_batches(events, size, seed=1, epoch=0, start=0, task=hgg.TASK):
    return batches.epoch_batches(events, task, Sampling(size, seed), epoch, start)


@pytest.fixture(scope="module")
def events():
    return Events.concatenate(produce(task) for task in jobs(10, seed=2))


def test_a_batch_is_a_function_of_seed_epoch_and_step_alone(events):
    whole = list(epoch_batches(events, 6, seed=1, epoch=2))
    assert len(whole) == batches.steps_per_epoch(events, 6, hgg.TASK) == 5
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
    for batch in epoch_batches(events, 6):
        assert {name: batch[name][next(iter(COLLECTIONS[name]))].shape[1] for name in COLLECTIONS} == lengths


def test_surplus_of_a_larger_class_waits_for_another_epoch(events):
    more = events[np.flatnonzero((events.label != 1) | (np.cumsum(events.label == 1) <= 4))]
    made = list(epoch_batches(more, 6, seed=1, epoch=0))
    assert len(made) == 2
    assert all(np.bincount(batch["label"]).tolist() == [2, 2, 2] for batch in made)


BINARY = hgg.TASK.changed(classes=("background=gamma_gamma+gamma_jet", "h"))


def test_batches_hold_the_classes_in_equal_parts(events):
    made = list(epoch_batches(events, 8, task=BINARY))
    assert len(made) == 2  # 10 H fill two batches of 4 of them
    for batch in made:
        assert np.sum(batch["label"] == 1) == 4
    assert set(np.concatenate([batch["label"] for batch in made])) == {0, 1, 2}
    with pytest.raises(DatasetError, match=r"the 2 classes in equal parts.*multiple of 2"):
        epoch_batches(events, 7, task=BINARY)
    # A label that is in no class need not be there.
    two = hgg.TASK.changed(classes=("gamma_gamma", "h"))
    assert batches.steps_per_epoch(events[events.label != 2], 4, two) == 5
    with pytest.raises(DatasetError, match="gamma_jet: 0"):
        batches.steps_per_epoch(events[events.label != 2], 4, BINARY)


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


def load_split(folder, split, name="cms_hgg/tiny", task=hgg.TASK):
    return StoredDataset(name, str(folder)).read(split, task)


def describe(folder):
    return StoredDataset("cms_hgg/tiny", str(folder)).describe()


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
    events = load_split(built, "train")
    assert np.bincount(events.label).tolist() == [6] * len(LABELS)
    assert (events.photons.counts == 2).all()
    assert events.mass.dtype == np.float32
    assert events.eb.cell.dtype == np.uint16


def test_events_of_labels_in_no_class_are_not_returned(built):
    task = hgg.TASK.changed(classes=("gamma_gamma", "h"))
    assert set(load_split(built, "validation", task=task).label) == {0, 1}


def test_a_dataset_holds_the_task_of_its_study(built):
    assert Task(**describe(built)["task"]) == hgg.TASK


def test_a_missing_dataset_is_built_first(tmp_path, monkeypatch):
    configs = (HggConfig(name="tiny", train=2, validation=1, produce=produce),)
    monkeypatch.setattr(BUILT_IN["cms_hgg"], "CONFIGS", configs)
    assert len(load_split(tmp_path, "validation")) == 3
    description = describe(tmp_path)
    assert description["origin"] == "fast simulation"
    assert description["version"] == "3.0.0"
    assert len(load_split(tmp_path, "train")) == 6


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
    descriptions = [describe(at) for at in (built, folder, tmp_path / "other")]
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
    for use in (dataset_module.fingerprint, lambda _: describe(folder)):
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
    with pytest.raises(DatasetError, match=r"metadata\.json"):
        load_split(folder, "train")
    with pytest.raises(DatasetError, match=r"metadata\.json"):
        describe(folder)


def test_features_that_a_dataset_names_are_not_imported(dataset, tmp_path, monkeypatch):
    folder, own = dataset
    (tmp_path / "planted.py").write_text("raise SystemExit('code of the dataset was run')")
    monkeypatch.syspath_prepend(tmp_path)
    path = own / "features.json"
    path.write_text(path.read_text().replace("e2e_jax.datasets.features.DetectorImages", "planted.Feature"))
    assert len(load_split(folder, "train")) == 18
    assert "planted" not in sys.modules


@pytest.mark.parametrize("name", ["cms_hgg/huge", "cms_hgg", "ttbar/quick", ""])
def test_an_unknown_name_lists_what_there_is(built, name):
    with pytest.raises(DatasetError, match=r"cms_hgg/quick, cms_hgg/medium, cms_hgg/paper"):
        load_split(built, "train", name)
    with pytest.raises(DatasetError, match=r"no split 'tests'.*train.*validation"):
        load_split(built, "tests")


def test_another_version_is_not_used(dataset):
    folder, own = dataset
    own.rename(own.with_name("0.9.0"))
    with pytest.raises(DatasetError, match=r"version 0\.9\.0.*version 3\.0\.0.*e2e_jax.build"):
        load_split(folder, "train")
    assert (own.with_name("0.9.0") / "dataset_info.json").exists()


def test_a_half_written_dataset_is_named(dataset):
    folder, own = dataset
    (shard,) = own.glob("*train*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=rf"(?s){own} is damaged.*Remove the folder"):
        load_split(folder, "train")
    shard.unlink()
    with pytest.raises(DatasetError, match=rf"half-written: {shard.name} is missing.*Remove the folder"):
        load_split(folder, "train")
    (own / "dataset_info.json").unlink()
    with pytest.raises(DatasetError, match=r"half-written: it has no dataset_info\.json"):
        load_split(folder, "train")


def test_a_dataset_for_tensorflow_alone_is_named(dataset):
    folder, own = dataset
    for shard in own.glob("*.array_record*"):
        shard.rename(own / shard.name.replace("array_record", "tfrecord"))
    metadata = dataset_module.sealed_metadata(
        dataset_module.read_metadata(own), own, "cms_hgg", {"train": "", "validation": "", "test": ""}
    )
    (own / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(DatasetError, match="stored as tfrecord"):
        load_split(folder, "train")
