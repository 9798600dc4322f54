"""Images of jets are read from Parquet and HDF5 as they were written; errors name file and row group."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2e_jax.detector import images
from e2e_jax.errors import SourceError
from e2e_jax.events.jets import Jets
from e2e_jax.sources.public import jet_files
from e2e_jax.studies import jets as study
from tests.jet_images import columns_of, images_of, write_hdf5, write_parquet

LIKE = {"channels": study.CHANNELS}
TOPS = {"channels": study.TOP_CHANNELS}
N = 12


def read_all(*paths, like=LIKE, **options):
    jobs = jet_files.file_jobs(paths, like, **options)
    return {split: [jet_files.read(job) for job in of] for split, of in jobs.items()}


def in_order(read):
    jets = Jets.concatenate([*read["train"], *read["validation"]]).validate(2)
    return jets[np.argsort(jets.event, kind="stable")]


def fault(*paths, **options):
    with pytest.raises(SourceError) as raised:
        read_all(*paths, **options)
    return raised.value


@pytest.fixture
def parquet(tmp_path):
    return write_parquet(tmp_path / "run0.test.snappy.parquet", images_of(N), columns_of(N))


def writers(tmp_path, channels, names=None):
    columns, image = columns_of(N), "X_jets"
    if names:
        columns = dict(zip(names[1:], columns.values(), strict=True))
        image = names[0]
    given = images_of(N, channels)
    return given, {
        "one jet a row group": write_parquet(tmp_path / "a.parquet", given, columns, image=image),
        "several": write_parquet(tmp_path / "b.parquet", given, columns, 5, pa.float32(), image=image),
        "plain": write_hdf5(tmp_path / "c.h5", given, columns, image=image),
        "compressed": write_hdf5(
            tmp_path / "d.hdf5", given, columns, image=image, chunks=(4, 25, 125, 1), compression="gzip"
        ),
    }


@pytest.mark.parametrize(
    ("like", "names"),
    [(LIKE, None), (TOPS, None), (TOPS, ("jet", "pT", "m", "Y"))],
    ids=["quark_gluon", "tops", "tops with other names"],
)
def test_the_images_and_numbers_of_every_layout_come_back(tmp_path, like, names):
    given, files = writers(tmp_path, len(like["channels"]), names)
    for layout, path in files.items():
        jets = in_order(read_all(path, like=like, piece=3))
        drawn = images.make_images(jets, "jet", like["channels"])["jet"]
        np.testing.assert_allclose(np.moveaxis(drawn, -1, 1), given, rtol=1e-6, err_msg=layout)
        np.testing.assert_array_equal(jets.event, np.arange(N))
        np.testing.assert_array_equal(jets.label, np.arange(N) % 2)
        for name in ("pt", "m0"):
            np.testing.assert_allclose(jets.observables[name], columns_of(N)[name], rtol=1e-6)
        # The blocks of the third channel are stored as one value each.
        assert set(jets.towers.channel) == {images.jet_pixels.CHANNELS.index(like["channels"][2])}
        assert not np.isin(jets.towers.channel[0], jets.pixels.channel)


def test_a_fifth_of_the_pieces_is_validation_and_every_jet_is_read_once(parquet):
    read = read_all(parquet, piece=2)
    events = {split: np.concatenate([part.event for part in parts]) for split, parts in read.items() if parts}
    assert sorted(np.concatenate([*events.values()])) == [*range(N)]
    assert events["validation"].tolist() == [8, 9]


@pytest.mark.parametrize("write", [write_parquet, write_hdf5])
def test_a_short_file_has_validation_too(tmp_path, write):
    path = write(tmp_path / ("a.parquet" if write is write_parquet else "a.h5"), images_of(N), columns_of(N))
    jobs = jet_files.file_jobs([path], LIKE)
    assert sum(job.events for of in jobs.values() for job in of) == N
    assert jobs["validation"]


def test_files_without_labels_are_read_as_such_where_that_is_asked(tmp_path):
    path = write_hdf5(tmp_path / "unlabelled.h5", images_of(N, 8), {}, image="jet")
    error = fault(path, like=TOPS)
    assert error.reason == "missing_column"
    assert str(path) in str(error)
    read = read_all(path, like=TOPS | {"observables": (), "labelled": False})
    assert set(read["train"][0].label) == {-1}


def changed(key, row, value, n=N, channels=3):
    """Images and columns with one number changed."""
    given, columns = images_of(n, channels), columns_of(n)
    if key == "image":
        given[row, 1, 60, 60] = value
    else:
        columns[key][row] = value
    return given, columns


FAULTS = {
    "nan": ("image", np.nan, "not_finite"),
    "infinity": ("image", np.inf, "not_finite"),
    "an energy beyond the beam's": ("image", 1e6, "out_of_range"),
    "another label": ("y", 2.0, "bad_label"),
    "half a label": ("y", 0.5, "bad_label"),
    "no label": ("y", np.nan, "bad_label"),
    "a pt of nan": ("pt", np.nan, "not_finite"),
    "a negative mass": ("m0", -1.0, "out_of_range"),
}


@pytest.mark.parametrize(("key", "value", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_number_is_told_by_file_and_row_group_or_left_out(tmp_path, key, value, reason):
    given, columns = changed(key, 7, value)
    for path, place in (
        (write_parquet(tmp_path / "a.parquet", given, columns), "Row group 7 "),
        (write_parquet(tmp_path / "b.parquet", given, columns, rows=5), "Row group 1, row 2 "),
        (write_hdf5(tmp_path / "c.h5", given, columns), "Row 7 "),
    ):
        error = fault(path)
        assert error.reason == reason
        assert str(error).startswith(f"{place}of {path}")
        jets = in_order(read_all(path, on_error="skip"))
        assert jets.event.tolist() == [row for row in range(N) if row != 7]


def test_missing_columns_and_other_types_are_told(tmp_path, parquet):
    columns = columns_of(N)
    without = {name: values for name, values in columns.items() if name != "pt"}
    error = fault(write_parquet(tmp_path / "a.parquet", images_of(N), without))
    assert error.reason == "missing_column"
    flat = pa.table({"X_jets": columns["pt"], **columns})
    pq.write_table(flat, tmp_path / "b.parquet")
    assert fault(tmp_path / "b.parquet").reason == "other_shape"
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["X_jets"] = np.zeros((N, 125, 125, 3), np.float32)
        file["pt"], file["m0"], file["y"] = columns["pt"][1:], columns["m0"], columns["y"]
    assert fault(tmp_path / "c.h5").reason == "other_shape"


@pytest.mark.parametrize("write", [write_parquet, write_hdf5])
def test_other_channels_and_resolutions_in_a_later_file_or_row_are_told(tmp_path, write, parquet):
    other = write(
        tmp_path / "tops.parquet" if write is write_parquet else tmp_path / "tops.h5",
        images_of(N, 8),
        columns_of(N),
    )
    error = fault(parquet, other)
    assert (error.reason, str(other) in str(error)) == ("other_shape", True)
    coarse = write(tmp_path / f"coarse{other.suffix}", images_of(N)[:, :, ::2, ::2], columns_of(N))
    assert fault(parquet, coarse).reason == "other_shape"


def test_one_image_of_another_resolution_is_told_by_its_row_group(tmp_path):
    given = [*images_of(3), images_of(1)[0][:, :64, :64], *images_of(3, seed=1)]
    path = write_parquet(tmp_path / "mixed.parquet", given, columns_of(7))
    assert str(fault(path)).startswith("Row group 3 ")


def test_truncated_and_other_files_are_told(tmp_path, parquet):
    content = parquet.read_bytes()
    parquet.write_bytes(content[: len(content) // 2])
    assert fault(parquet).reason == "not_parquet"
    middle = len(content) // 2
    parquet.write_bytes(content[:middle] + bytes(2000) + content[middle + 2000 :])
    assert fault(parquet).reason in ("damaged", "not_finite", "out_of_range", "other_shape")
    (tmp_path / "text.h5").write_text("no HDF5")
    assert fault(tmp_path / "text.h5").reason == "not_hdf5"
    assert fault(tmp_path / "absent.parquet").reason == "missing_file"
    with pytest.raises(SourceError):
        jet_files.files_of(tmp_path, (".txt",))


def test_memory_of_a_read_is_that_of_a_few_rows(tmp_path):
    """A row group with many jets is read in parts with a limited number of rows."""
    from e2e_jax.sources.public import jet_parquet

    n = 2 * jet_files.TOGETHER + 5
    path = write_parquet(tmp_path / "a.parquet", images_of(n), columns_of(n), rows=n)
    (job,) = jet_files.file_jobs([path], LIKE)["train"]
    assert job.events == n
    assert max(len(columns["y"]) for _, columns in jet_parquet.rows(job)) <= jet_files.TOGETHER
