"""A job determines its events; every executor returns the same events, in order, once."""

import concurrent.futures
import os
import pathlib
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from e2e_jax.execution.jobs import SPLITS, JobError, event_keys, run_jobs
from e2e_jax.execution.keeping import Format, Packed, read_events, write_events
from e2e_jax.studies import hgg
from e2e_jax.study.samples import quotas
from tests.hgg_jobs import jobs
from tests.synthetic_tasks import die, fail_on_h, produce, produce_alone

JOBS = jobs(6, seed=1)


def in_threads(jobs=JOBS, make=produce, **options):
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        yield from run_jobs(jobs, make, executor=executor, progress=False, **options)


def keys(results):
    return [event_keys(events) for _, events in results]


def test_jobs_are_balanced_and_keep_the_shares_of_the_eras():
    for category in ("central", "central_forward"):
        eras, made = hgg.ERAS[category], jobs(2501, seed=1, category=category)
        for label in range(len(hgg.LABELS)):
            sizes = [sum(j.events for j in made if (j.label, j.era) == (label, era)) for era in eras]
            assert tuple(sizes) == quotas(2501, eras)
        assert all(0 < job.events <= 1000 for job in made)


def test_each_split_has_pile_up_of_its_own_and_larger_ones_have_more():
    for split in SPLITS:
        few, many = (jobs(size, 1, split) for size in (10, 50_000))
        assert {job.split for job in few + many} == {split}
        assert {job.pileup_shards for job in few} == {1}
        assert {job.pileup_shards for job in many} == {75}


def test_seeds_and_addresses_never_repeat():
    made = [job for split in SPLITS for job in jobs(5000, 3, split)]
    assert len({(job.era, job.lumi) for job in made}) == len(made)
    made += jobs(5000, 4)
    assert len({job.seed for job in made}) == len(made)
    assert all(0 <= job.seed < 2**63 for job in made)


def test_slow_jobs_come_first():
    labels = [job.label for job in jobs(2000, seed=1)]
    assert set(labels[: labels.count(2)]) == {hgg.LABELS.index("gamma_jet")}


def test_a_split_is_the_same_each_time():
    assert jobs(50, seed=1) == jobs(50, seed=1)
    assert jobs(50, seed=1) != jobs(50, seed=2)
    with pytest.raises(ValueError, match="tests"):
        jobs(50, seed=1, split="tests")


def test_processes_give_what_threads_give_in_the_order_of_the_tasks():
    alone = list(run_jobs(JOBS, produce_alone, workers=2, progress=False))
    assert [job for job, _ in alone] == JOBS
    assert keys(alone) == keys(in_threads())
    unique = [key for some in keys(alone) for key in some]
    assert len(set(unique)) == len(unique) == 18


def test_no_more_than_a_few_tasks_run_ahead_of_the_consumer():
    started, enough = [], threading.Event()

    def note(job):
        started.append(job)
        if len(started) == 3:
            enough.set()
        return produce(job)

    results = in_threads(make=note, ahead=3)
    next(results)
    assert enough.wait(10)
    assert len(started) == 3
    assert len(list(results)) == len(JOBS) - 1
    assert len(started) == len(JOBS)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    results = in_threads(cache_dir=tmp_path, ahead=1)
    for _ in range(3):
        next(results)
    results.close()
    made = []

    def note(job):
        made.append(job)
        return produce(job)

    resumed = list(in_threads(make=note, cache_dir=tmp_path))
    # Threads finish in any order; each missing job is made, and once.
    assert len(made) == len(JOBS) - 3
    assert set(made) == set(JOBS[3:])
    assert keys(resumed) == keys(in_threads())


def test_a_finished_task_of_another_version_or_a_broken_file_is_made_again(tmp_path):
    list(in_threads(cache_dir=tmp_path, version="1"))
    files = set(tmp_path.iterdir())
    list(in_threads(cache_dir=tmp_path, version="2"))
    assert len(set(tmp_path.iterdir())) == 2 * len(files)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert keys(in_threads(cache_dir=tmp_path, version="1")) == keys(in_threads())


class Elsewhere(concurrent.futures.Executor):
    """Workers that have nothing in common with who submits: all goes there and back as bytes."""

    def submit(self, function, /, *args):
        future = concurrent.futures.Future()
        self.came_back = pickle.dumps(pickle.loads(pickle.dumps(function))(*pickle.loads(pickle.dumps(args))))
        future.set_result(pickle.loads(self.came_back))
        return future


def test_what_workers_elsewhere_made_is_kept_when_it_is_taken(tmp_path):
    elsewhere = Elsewhere()
    results = run_jobs(JOBS, produce, executor=elsewhere, cache_dir=tmp_path, ahead=4, progress=False)
    for taken in range(1, len(JOBS) + 1):
        next(results)
        assert len(list(tmp_path.iterdir())) == taken
    # They send the content of the file, which is compressed and ready to be written.
    assert isinstance(pickle.loads(elsewhere.came_back), Packed)
    assert keys(run_jobs(JOBS, fail_on_h, executor=elsewhere, cache_dir=tmp_path, progress=False)) == keys(
        in_threads()
    )


def test_a_result_that_its_format_does_not_keep_comes_back_all_the_same(tmp_path):
    never = Format(".npz", keep_nothing, read_events)
    results = run_jobs(JOBS, produce, executor=Elsewhere(), cache_dir=tmp_path, kept_as=never, progress=False)
    assert keys(results) == keys(in_threads())
    assert list(tmp_path.iterdir()) == []


def keep_nothing(path, events):
    """As the `write` of a format, for results that tomorrow's may be better than."""


def test_events_come_back_from_their_file_bit_for_bit(tmp_path):
    events = produce(JOBS[0])
    write_events(tmp_path / "deep" / "events.npz", events)
    back = read_events(tmp_path / "deep" / "events.npz")
    np.testing.assert_array_equal(back.mass, events.mass)
    for one, other in zip(back.examples(), events.examples()):
        np.testing.assert_equal(one, other)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["events.npz"]
    assert read_events(tmp_path / "absent.npz") is None


def test_a_failure_names_the_task():
    with pytest.raises(JobError, match=r"of h .*seed \d+.*no Higgs bosons today"):
        list(in_threads(make=fail_on_h))


def test_a_worker_that_dies_is_reported():
    with pytest.raises(JobError, match=r"process died while The simulation.*memory"):
        list(run_jobs(JOBS, die, workers=1, progress=False))


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from e2e_jax.execution.jobs import run_jobs\n"
        "from tests.hgg_jobs import jobs\n"
        "from tests.synthetic_tasks import produce\n"
        "print('started')\n"
        "print(len(list(run_jobs(jobs(3, 1), produce, workers=1))))\n"
    )
    here = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=here, check=True)
    assert done.stdout.split() == ["started", "9"]
    assert "9/9" in done.stderr


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    script = (
        "import os, signal\n"
        "from e2e_jax.execution.workers import WorkerPool\n"
        "print(WorkerPool(1).submit(os.getpid).result(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The worker holds the other end of the pipe: reading to its end waits for the worker's end too.
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=30)
    assert int(done.stdout) > 0
    assert done.returncode == -9
