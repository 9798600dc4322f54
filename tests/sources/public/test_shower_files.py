"""Crops are read from HDF5 as they were written, piece by piece; errors name the file."""

import zlib

import h5py
import numpy as np
import pytest

from e2e_jax.detector import crops, shower_images
from e2e_jax.errors import SourceError
from e2e_jax.events.showers import Showers
from e2e_jax.sources.public import shower_files


def images_of(n, seed=0):
    """Crops `[n, 32, 32, 2]` of a few crystals with energy and time, divided by 50."""
    random = np.random.default_rng(seed)
    images = np.zeros((n, 32 * 32, 2), np.float32)
    for image in images:
        image[random.choice(32 * 32, 20, replace=False)] = random.uniform(0.01, 1, (20, 2))
    return images.reshape(n, 32, 32, 2)


def write(path, images, labels):
    with h5py.File(path, "w") as file:
        file["X"], file["y"] = images, labels
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "SinglePhoton.hdf5", images_of(23), np.zeros(23, np.float32))


def read_all(path, **options):
    tasks = shower_files.file_jobs([path], **options)
    return tasks, {split: [shower_files.read(task) for task in of] for split, of in tasks.items()}


def fault(path, **options):
    with pytest.raises(SourceError) as raised:
        read_all(path, **options)
    assert str(path) in str(raised.value)
    return raised.value


def test_images_come_back_in_gev_and_ns(path):
    _, read = read_all(path, piece=4)
    showers = Showers.concatenate([*read["train"], *read["validation"]]).validate(view="crop")
    showers = showers[np.argsort(showers.event)]
    np.testing.assert_array_equal(showers.event, np.arange(23))
    assert not showers.label.any()
    drawn = shower_images.shower_images(showers, "crop", crops.CHANNELS)
    np.testing.assert_allclose(drawn, images_of(23) * 50, rtol=1e-6)


def test_a_fifth_is_validation_and_no_event_is_in_both(path):
    tasks, read = read_all(path, piece=2)
    events = {split: np.concatenate([part.event for part in parts]) for split, parts in read.items() if parts}
    assert sorted(np.concatenate(list(events.values()))) == list(range(23))
    assert 0.1 < len(events["validation"]) / 23 < 0.3
    assert max(task.events for of in tasks.values() for task in of) == 2


def test_events_of_two_files_have_addresses_of_their_own(path):
    tasks = shower_files.file_jobs([path, path], piece=5)
    addresses = [(task.lumi, task.first) for of in tasks.values() for task in of]
    assert len({lumi for lumi, _ in addresses}) == len(addresses) == 10


def test_labels_may_be_a_column(tmp_path):
    path = write(tmp_path / "e.h5", images_of(6), np.ones((6, 1)))
    _, read = read_all(path)
    assert {int(label) for part in read["train"] for label in part.label} == {1}


def test_a_class_has_one_file(tmp_path, path):
    with pytest.raises(SourceError, match=r"holds 0 .hdf5 files with 'electron' .*: SinglePhoton.hdf5"):
        shower_files.class_files(tmp_path)
    electron = write(tmp_path / "SingleElectron.hdf5", images_of(1), [1])
    assert shower_files.class_files(tmp_path) == {"photon": path, "electron": electron}
    write(tmp_path / "OtherElectron.hdf5", images_of(1), [1])
    with pytest.raises(SourceError, match=r"holds 2 .hdf5 files with 'electron'"):
        shower_files.class_files(tmp_path)


def test_a_file_without_the_datasets_says_what_it_holds(tmp_path):
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        file["images"], file["X"] = [1], [1]
    error = fault(path)
    assert error.reason == "missing_dataset"
    assert "no dataset 'y'; it holds X, images" in str(error)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((4, 16, 16, 2)), np.zeros(4), "X float64[4, 16, 16, 2]"),
        (np.zeros((4, 32, 32)), np.zeros(4), "X float64[4, 32, 32]"),
        (np.zeros((4, 32, 32, 2)), np.zeros(5), "y float64[5]"),
        (np.zeros((4, 32, 32, 2)), np.zeros((4, 2)), "y float64[4, 2]"),
        (np.zeros((4, 32, 32, 2), "S1"), np.zeros(4), "X |S1"),
    ],
)
def test_other_shapes_are_refused(tmp_path, images, labels, said):
    error = fault(write(tmp_path / "x.hdf5", images, labels))
    assert error.reason == "other_shape"
    assert said in str(error)


@pytest.mark.parametrize("change", ["truncated", "not_hdf5", "missing_file"])
def test_a_file_that_cannot_be_read_is_named(path, change):
    content = path.read_bytes()
    path.unlink()
    if change != "missing_file":
        path.write_bytes(content[: len(content) // 2] if change == "truncated" else b"text" * 1000)
    assert fault(path).reason == change


def test_damage_within_a_file_is_named(tmp_path):
    path = tmp_path / "damaged.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=images_of(10), chunks=(10, 32, 32, 2), compression="gzip")
        file["y"] = np.zeros(10)
        place = file["X"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(content)
    assert fault(path).reason == "damaged"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("bad_label", "has the label y = 2"),
        ("not_finite", "has a pixel of X that is not finite"),
        ("out_of_range", "has a pixel of X that no crystal measures"),
        ("tiny", "has a pixel of X that no crystal measures"),
        ("empty", "has no hit"),
    ],
)
def test_an_event_at_fault_is_named_or_left_out(tmp_path, reason, said):
    images, labels = images_of(10), np.zeros(10)
    if reason == "bad_label":
        labels[7] = 2
    elif reason == "not_finite":
        images[7, 3, 3, 1] = np.nan
    elif reason == "out_of_range":
        images[7, 3, 3, 0] = 1e30
    elif reason == "tiny":
        images[7, 3, 3, 0], reason = 1e-40, "out_of_range"
    else:
        images[7] = 0
    path = write(tmp_path / "one.hdf5", images, labels)
    error = fault(path)
    assert error.reason == reason
    assert f"Event 7 of {path} {said}" in str(error)
    tasks, read = read_all(path, on_error="skip")
    assert sum(task.events for of in tasks.values() for task in of) == 10
    kept = Showers.concatenate([*read["train"], *read["validation"]]).validate(view="crop")
    assert sorted(kept.event) == [0, 1, 2, 3, 4, 5, 6, 8, 9]


@pytest.mark.parametrize("where", ["external", "virtual", "link"])
def test_numbers_of_other_files_are_not_read(tmp_path, where):
    other, path = tmp_path / "other.hdf5", tmp_path / "x.hdf5"
    write(other, images_of(5), np.zeros(5))
    shape = (5, 32, 32, 2)
    with h5py.File(path, "w") as file:
        file["y"] = np.zeros(5)
        if where == "external":
            images_of(5).tofile(tmp_path / "raw")
            storage = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("X", shape, np.float32, external=storage)
        elif where == "virtual":
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[:] = h5py.VirtualSource(str(other), "X", shape)
            file.create_virtual_dataset("X", layout)
        else:
            file["X"] = h5py.ExternalLink(str(other), "X")
    assert fault(path).reason == "external_storage"


@pytest.mark.parametrize("chunks", [None, (2, 32, 32, 2)])
def test_numbers_that_were_never_written_are_no_zeros(tmp_path, chunks):
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["y"] = np.zeros(6)
        images = file.create_dataset("X", (6, 32, 32, 2), np.float32, chunks=chunks)
        if chunks:
            images[:4] = images_of(4)
    assert fault(path).reason == "truncated"


def test_a_chunk_that_claims_to_be_uncompressed_is_refused(tmp_path):
    """HDF5 would read the compressed bytes as numbers."""
    path, images = tmp_path / "x.hdf5", images_of(10)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("X", images.shape, np.float32, chunks=images.shape, compression="gzip")
        dataset.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(images.tobytes()), filter_mask=1)
        file["y"] = np.zeros(10)
    assert fault(path).reason == "truncated"


def test_a_checksum_of_the_file_notices_every_damaged_number(tmp_path):
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        images = file.create_dataset("X", data=images_of(5), chunks=(5, 32, 32, 2), fletcher32=True)
        place = images.id.get_chunk_info(0).byte_offset
        file["y"] = np.zeros(5)
    content = path.read_bytes()
    for bit in range(0, 1000, 37):
        damaged = bytearray(content)
        damaged[place + 8 * bit] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert fault(path).reason == "damaged"


def test_damage_to_the_keys_of_the_chunks_never_changes_an_event(tmp_path):
    """HDF5 reads zeros if a damaged key hides a chunk, although the tree lists it."""
    path, images = tmp_path / "x.hdf5", images_of(6)
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=images, chunks=(3, 16, 16, 2), compression="gzip")
        file["y"] = np.zeros(6)
    sound = Showers.concatenate([part for parts in read_all(path)[1].values() for part in parts])
    content = path.read_bytes()
    tree, told = content.index(b"TREE\x01\x00"), 0
    chunks, key, address = 2 * 2 * 2, 4 + 4 + 8 * 5, 8
    for place in range(tree + 24, tree + 24 + chunks * (key + address) + key, 4):
        damaged = bytearray(content)
        damaged[place] ^= 0x2F
        path.write_bytes(damaged)
        try:
            read = Showers.concatenate([part for parts in read_all(path)[1].values() for part in parts])
            for name, column in sound.arrays().items():
                np.testing.assert_array_equal(read.arrays()[name], column)
        except SourceError:
            told += 1
    assert told


def test_a_label_that_is_no_number_is_refused(tmp_path):
    labels = np.zeros(10)
    labels[2] = np.nan
    assert fault(write(tmp_path / "nan.hdf5", images_of(10), labels)).reason == "bad_label"


def test_on_error_is_fail_or_skip(path):
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        shower_files.file_jobs([path], on_error="ignore")
