"""A cluster makes the same dataset as one machine, and loses as little work as possible."""

import concurrent.futures
import dataclasses
import importlib
import json
import os
import socket
import sys
import threading
import time

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets.naming import HggConfig
from e2e_jax.execution import cluster
from e2e_jax.execution.jobs import JobError, event_keys, run_jobs
from tests.hgg_jobs import jobs
from tests.synthetic_tasks import die, fail_on_h, produce, produce_and_note
from tests.xrootd_server import free_port

pytest.importorskip("distributed", reason="no Dask (pip install 'e2e_jax[cluster]')")
from tests.dask_cluster import dask_cluster

JOBS = [dataclasses.replace(job, events=5, seed=seed) for seed, job in enumerate(12 * jobs(20, seed=1))]


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """The folder of `produce_and_note`."""
    folder = tmp_path_factory.mktemp("notes")
    os.environ["E2E_TEST_NOTES"] = str(folder)
    yield folder
    del os.environ["E2E_TEST_NOTES"]


@pytest.fixture(scope="module")
def dask(notes, tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask"), workers=2) as running:
        yield running


@pytest.fixture
def executor(dask, notes):
    for note in notes.iterdir():
        note.unlink()
    with cluster.executor(dask.address) as connected:
        yield connected


def on(executor, make=produce, tasks=JOBS, **options):
    return run_jobs(tasks, make, executor=executor, progress=False, **options)


def alone():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return list(on(executor))


def same(some, others):
    assert [task for task, _ in some] == [task for task, _ in others]
    for (_, one), (_, other) in zip(some, others):
        assert event_keys(one) == event_keys(other)
        for a, b in zip(one.examples(), other.examples()):
            np.testing.assert_equal(a, b)


def noted(notes):
    """Fingerprint -> the processes that ran the task."""
    runs = {}
    for note in notes.glob("*-*"):
        runs.setdefault(note.name.split("-")[0], set()).add(int(note.name.split("-")[1]))
    return runs


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_cluster_gives_what_one_machine_gives(dask, executor, notes, tmp_path):
    same(list(on(executor, produce_and_note)), alone())
    assert set().union(*noted(notes).values()) == {worker.pid for worker in dask.workers}
    same(list(on(executor, cache_dir=tmp_path)), alone())


def test_a_dataset_built_on_a_cluster_is_byte_for_byte_that_of_one_machine(dask, monkeypatch, tmp_path):
    config = HggConfig(name="tiny", train=12, validation=4, produce=produce)
    records = []
    for place in ("cluster", "machine"):
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            if place == "cluster":
                monkeypatch.setenv(cluster.VARIABLE, dask.address)
            local = None if place == "cluster" else executor
            builder = Builder(config=config, data_dir=tmp_path / place, executor=local)
            builder.download_and_prepare()
        files = sorted(builder.data_path.glob("*.array_record*"))
        assert len(files) == 3
        records.append([ArrayRecordReader(str(file)).read_all() for file in files])
    assert [len(split) for split in records[0]] == [12, 36, 12]
    assert records[0] == records[1]


@pytest.mark.slow
def test_the_executor_of_dask_serves_too(dask, tmp_path):
    import distributed

    with distributed.Client(dask.address, set_as_default=False) as client:
        same(list(on(client.get_executor(), cache_dir=tmp_path, ahead=4)), alone())


def test_the_scheduler_is_found_by_its_file_and_by_the_environment(dask, monkeypatch):
    assert cluster.executor() is None
    for value in (dask.address, str(dask.file)):
        monkeypatch.setenv(cluster.VARIABLE, value)
        with cluster.executor() as executor:
            assert executor.submit(os.getpid).result() in {worker.pid for worker in dask.workers}


@pytest.mark.slow
def test_what_is_kept_is_written_by_who_ordered_it_and_used_again(executor, notes, tmp_path):
    results = on(executor, produce_and_note, cache_dir=tmp_path, version="1")
    for done in range(1, 4):
        next(results)
        # Not a file more than was taken, though many more are finished: workers write none of them,
        # and results stay with them until they are asked for.
        assert len(list(tmp_path.iterdir())) == done
    wait_until(lambda: len(noted(notes)) == executor.ahead + 2)
    results.close()

    before = noted(notes)
    resumed = list(on(executor, produce_and_note, cache_dir=tmp_path, version="1"))
    same(resumed, alone())
    kept = [task.fingerprint() for task in JOBS[:3]]
    assert all(noted(notes)[name] == before[name] for name in kept)
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz"}
    assert len(list(tmp_path.iterdir())) == len(JOBS)


def test_no_more_than_a_few_tasks_are_ahead_of_the_writer(executor, notes):
    results = on(executor, produce_and_note, ahead=3)
    next(results)
    wait_until(lambda: len(noted(notes)) == 3)
    time.sleep(0.3)
    assert len(noted(notes)) == 3
    results.close()


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_own_tasks_and_nothing_else(dask, executor, notes):
    dask.add_workers(1)
    victim = dask.workers.pop()
    (notes / "wait").touch()
    results = on(executor, produce_and_note)
    with concurrent.futures.ThreadPoolExecutor(1) as reader:
        all_of_them = reader.submit(list, results)
        try:
            wait_until(lambda: any(victim.pid in runs for runs in noted(notes).values()))
            victim.kill()
            victim.wait()
        finally:
            (notes / "wait").unlink()
        same(all_of_them.result(timeout=60), alone())
    again = {name: runs for name, runs in noted(notes).items() if len(runs) > 1}
    assert again
    assert all(victim.pid in runs for runs in again.values())


@pytest.mark.slow
def test_a_task_that_fails_or_kills_its_workers_is_named(dask, executor):
    with pytest.raises(JobError, match=r"of h \(.*no Higgs bosons today"):
        list(on(executor, fail_on_h))
    dask.add_workers(2)
    victims, dask.workers = dask.workers[:], dask.workers[:0]
    with pytest.raises(JobError, match=r"process died while The simulation"):
        list(on(executor, die, JOBS[:1]))
    for worker in victims:
        if worker.poll() is None:
            dask.workers.append(worker)


def test_a_worker_with_other_code_makes_nothing(executor, monkeypatch):
    other = cluster.environment() | {"numpy": "1.0"}
    monkeypatch.setattr(cluster, "environment", lambda: other)
    with pytest.raises(JobError, match=r"numpy is .* instead of 1\.0.*same versions"):
        list(on(executor))


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_build(tmp_path):
    with dask_cluster(tmp_path, workers=0) as lost, cluster.executor(lost.address, timeout=2) as executor:
        results = on(executor)
        threading.Timer(0.5, lost.stop).start()
        with pytest.raises(JobError, match=f"scheduler at {lost.address} was lost.*start again"):
            next(results)


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_or_silent_is_told_within_seconds():
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(
        cluster.ClusterError, match=f"No Dask scheduler answers at {address} within 1 seconds"
    ):
        cluster.executor(address, timeout=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(cluster.ClusterError, match=f"No Dask scheduler answers at {silent}"):
            cluster.executor(silent, timeout=1)


def test_a_server_of_another_protocol_is_told():
    """Dask takes its first eight bytes for a size, here of 3 EiB."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1)

        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            thread.submit(answer)
            address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(cluster.ClusterError, match=f"No Dask scheduler answers at {address}"):
                cluster.executor(address, timeout=5)


def test_a_file_that_names_no_scheduler_is_told(tmp_path):
    with pytest.raises(cluster.ClusterError, match=r"absent\.json, which is neither an address"):
        cluster.executor(str(tmp_path / "absent.json"))
    for content in ("", "[]", json.dumps({"id": "Scheduler"})):
        (tmp_path / "scheduler.json").write_text(content)
        with pytest.raises(cluster.ClusterError, match=r"scheduler\.json, which is not what"):
            cluster.executor(str(tmp_path / "scheduler.json"))


def test_without_dask_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'e2e_jax\[cluster\]'"):
        cluster.executor("tcp://127.0.0.1:8786")
    monkeypatch.undo()
    assert importlib.import_module("distributed")
