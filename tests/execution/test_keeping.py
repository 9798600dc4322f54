"""A failed write gives an error of one sentence that names the folder; damaged results are made again."""

import concurrent.futures

import numpy as np
import pytest

from e2e_jax.execution import keeping
from e2e_jax.execution.jobs import JobError, run_jobs
from e2e_jax.files import atomic, npz
from tests.hgg_jobs import jobs
from tests.synthetic_tasks import produce

JOBS = jobs(4, seed=1)[:2]


def full(file):
    """As a file system without space."""
    file.write(b"begun")
    with open("/dev/full", "wb", buffering=0) as device:
        device.write(b"x")


def write_to_a_full_disk(path, result):
    atomic.write_file(path, full)


def test_a_full_disk_ends_the_work_with_the_folder_and_leaves_no_part_behind(tmp_path):
    kept_as = keeping.EVENTS._replace(write=write_to_a_full_disk)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        results = run_jobs(JOBS, produce, executor, cache_dir=tmp_path, kept_as=kept_as, progress=False)
        with pytest.raises(JobError, match="No space left") as raised:
            next(results)
        results.close()
    assert str(tmp_path) in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        results = run_jobs(JOBS, produce, executor, cache_dir=tmp_path / "file", progress=False)
        with pytest.raises(JobError, match="cannot be kept") as raised:
            next(results)
        results.close()
    assert str(tmp_path / "file") in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        {"eb.counts": np.array([-1, 1], np.int32)},
        {"observables.mass": np.zeros(2, np.float64)},
        {"photons.counts": np.zeros(3, np.int32)},
        {"observables.mass": np.zeros(3, np.float32)},
        {"eb.energy": np.zeros(0, np.float32)},
    ],
    ids=str,
)
def test_columns_that_do_not_fit_together_are_no_events(tmp_path, change):
    events = produce(JOBS[0])[:2]
    npz.write(tmp_path / "a.npz", keeping.to_arrays(events))
    assert len(keeping.read_events(tmp_path / "a.npz")) == 2
    npz.write(tmp_path / "b.npz", keeping.to_arrays(events) | change)
    assert keeping.read_events(tmp_path / "b.npz") is None
