"""Lists of files give complete, unique events of a dataset, equal on every executor, or an error."""

import collections
import concurrent.futures
import dataclasses
import functools
import pickle
import shutil
import threading
import time

import numpy as np
import pytest

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import Events, leading
from e2e_jax.execution.jobs import event_keys, run_jobs
from e2e_jax.sources.opendata import hits as opendata
from e2e_jax.sources.opendata import skim
from e2e_jax.sources.opendata.file_lists import files_of_labels
from e2e_jax.sources.opendata.hits import HitsJob, OpenDataEvents, read_hits, read_kept_hits, write_hits
from e2e_jax.sources.opendata.quotas import QuotaError, Sizes
from e2e_jax.sources.root import aodsim
from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from tests.aodsim_file import write_aodsim
from tests.aodsim_lists import RUNS, file_events, write_lists

CENTRAL, ERAS = hgg.SELECTIONS["central"], hgg.ERAS["central"]
SIZES = Sizes(train=9, validation=5, eras=ERAS)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def threads():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def make(tmp_path, threads):
    """Make the source of a dataset from the files in a folder."""

    def make(folder, sizes=SIZES, on_error="fail", executor=threads, kept=tmp_path / "skims", **options):
        run = functools.partial(run_jobs, executor=executor)
        scratch = tmp_path / "hits"
        places = {"kept": kept, "scratch": scratch}
        return OpenDataEvents(
            files_of_labels(LABELS, folder),
            sizes,
            CENTRAL,
            seed=1,
            on_error=on_error,
            run=run,
            **places,
            **options,
        )

    return make


@pytest.fixture
def reads(monkeypatch):
    """Count the reads of each file in each pass: (pass, file name) -> times."""
    counts = collections.Counter()

    def counting(name, read):
        def counted(path, *args, **options):
            counts[name, str(path).rpartition("/")[2]] += 1
            return read(path, *args, **options)

        return counted

    for name in ("read_candidates", "read_entries"):
        monkeypatch.setattr(aodsim, name, counting(name, getattr(aodsim, name)))
    return counts


def both(source):
    return {split: Events.concatenate(source.events(split)) for split in ("train", "validation")}


@pytest.mark.slow
def test_every_event_is_there_once_whole_and_from_the_first_of_its_era(lists, make):
    source = make(lists)
    splits = both(source)
    events = Events.concatenate(splits.values())
    assert len(set(event_keys(events))) == len(events) == 3 * (9 + 5)
    for label in range(len(LABELS)):
        all_files = Events.concatenate(file_events(place, label) for place in range(3))
        selected = all_files[np.arange(len(all_files)) % 4 != 3]
        first = [selected[selected.run == run][: SIZES.quotas("sample")[run]] for run in RUNS]
        expected = Events.concatenate(first)
        assert sorted(event_keys(events[events.label == label])) == sorted(event_keys(expected))
        for split, these in splits.items():
            quotas = SIZES.quotas(split)
            assert {run: np.sum((these.label == label) & (these.run == run)) for run in RUNS} == quotas
        order = [event_keys(all_files).index(key) for key in event_keys(events[events.label == label])]
        for one, other in zip(events[events.label == label].examples(), all_files[order].examples()):
            np.testing.assert_allclose(one["photons"]["pt"], other["photons"]["pt"], rtol=1e-6)
            np.testing.assert_array_equal(one["detector"]["eb"]["cell"], other["detector"]["eb"]["cell"])
            np.testing.assert_array_equal(one["detector"]["ee"]["energy"], other["detector"]["ee"]["energy"])


def test_the_table_says_where_each_event_lies(lists, make):
    source = make(lists)
    rows = source.table().to_pylist()
    events = both(source)
    for split, some in events.items():
        here = [row for row in rows if row["split"] == split]
        keys = [f"{LABELS.index(r['label'])}_{r['run']}_{r['lumi']}_{r['event']}" for r in here]
        assert sorted(keys) == sorted(event_keys(some))
    row = rows[-1]
    event = aodsim.read_entries(row["file"], [row["entry"]], select=CENTRAL)
    assert (event.run[0], event.lumi[0], event.event[0]) == (row["run"], row["lumi"], row["event"])
    assert row["mass"] == pytest.approx(event.mass[0])
    assert row["trailing_phi"] == leading(event.photons)[0, 1, 2]


class Backwards(concurrent.futures.Executor):
    """Executor that finishes jobs in reverse order."""

    def __init__(self):
        self._waiting, self._lock = [], threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def submit(self, function, /, *args):
        future = concurrent.futures.Future()
        with self._lock:
            self._waiting.append((future, function, args))
        return future

    def _work(self):
        while not getattr(self, "_ended", False):
            time.sleep(0.02)
            with self._lock:
                work = self._waiting.pop() if self._waiting else None
            if work and work[0].set_running_or_notify_cancel():
                work[0].set_result(work[1](*work[2]))

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._ended = True
        self._thread.join()


def test_neither_workers_nor_order_of_completion_matter(lists, make, tmp_path, monkeypatch):
    monkeypatch.setattr(opendata, "JOB_EVENTS", 2)
    tables, keys = [], []
    for name, executor in (("one", concurrent.futures.ThreadPoolExecutor(1)), ("last", Backwards())):
        with executor:
            source = make(lists, executor=executor, kept=tmp_path / name)
            tables.append(source.table())
            keys.append({split: event_keys(events) for split, events in both(source).items()})
    assert tables[0].equals(tables[1])
    assert keys[0] == keys[1]


def test_no_file_is_read_beyond_those_that_fill_the_quotas_and_none_twice(lists, make, reads):
    source = make(lists, Sizes(4, 2, eras=ERAS))
    both(source)
    # One file of each class is enough; the others may have been started early.
    assert source.metadata()["read"] == {name: {"files": 1, "events": 12} for name in LABELS}
    assert all(count == 1 for count in reads.values())
    assert {name for step, name in reads if step == "read_entries"} == {f"{name}_0.root" for name in LABELS}


def test_an_interrupted_skim_goes_on_with_the_next_file(lists, make, reads, monkeypatch):
    counted = aodsim.read_candidates

    def interrupted(path, *args, **options):
        if path.endswith("h_1.root"):
            raise KeyboardInterrupt
        return counted(path, *args, **options)

    with monkeypatch.context() as patch, concurrent.futures.ThreadPoolExecutor(1) as alone:
        patch.setattr(aodsim, "read_candidates", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(lists, executor=alone).table()
    finished = {name for _, name in reads}
    assert {f"gamma_gamma_{place}.root" for place in range(2)} | {"h_0.root"} <= finished
    reads.clear()
    table = make(lists).table()
    again = {name for _, name in reads}
    assert "h_1.root" in again
    assert not again & finished
    assert table.equals(make(lists).table())


def test_a_file_that_was_changed_is_skimmed_again_and_never_mixed(tmp_path, make, reads):
    folder = write_lists(tmp_path / "lists", files=1)
    one = make(folder, Sizes(4, 2, eras=ERAS))
    assert len(one.table()) == 18
    write_aodsim(folder / "h_0.root", file_events(7, 1))
    with pytest.raises(SourceError, match=r"h_0\.root was replaced after it was skimmed") as error:
        both(one)
    assert error.value.reason == "changed"
    reads.clear()
    assert len(both(make(folder, Sizes(4, 2, eras=ERAS)))["train"]) == 12
    assert [name for step, name in reads if step == "read_candidates"] == ["h_0.root"]


def test_too_few_events_are_told_and_what_was_read_is_kept(lists, make, reads):
    with pytest.raises(
        QuotaError, match=r"gamma_gamma has run 194533 \(2012AB\) 9 of .*; h has .*; gamma_jet has"
    ):
        make(lists, Sizes(90, 50, eras=ERAS), strict=True).table()
    reads.clear()
    assert len(make(lists).table()) == 42
    assert not reads


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_the_splits_are_filled_as_far_as_the_data_reach(lists, make, on_error):
    source = make(lists, Sizes(90, 50, eras=ERAS), on_error)
    splits = both(source)
    sizes = {split: np.bincount(events.label).tolist() for split, events in splits.items()}
    assert all(of_labels == 3 * of_labels[:1] for of_labels in sizes.values())
    # 27 events of each label, 9 of each era, are there; most of the 140 asked for are of the second one.
    of_second = Sizes(90, 50, eras=ERAS).quotas("sample")[RUNS[1]]
    assert 140 * 9 / of_second - 6 < sizes["train"][0] + sizes["validation"][0] <= 140 * 9 / of_second
    assert len(set(event_keys(Events.concatenate(splits.values())))) == sum(map(sum, sizes.values()))
    assert "of the sizes asked for" in source.report()


def test_events_of_whatever_run_are_taken_where_asked_for(tmp_path, make):
    folder = write_lists(tmp_path / "lists", files=1, runs=(1,))
    with pytest.raises(QuotaError, match=r"9 of run 1.*eras=any"):
        make(folder, Sizes(4, 2, eras=ERAS)).table()
    splits = both(make(folder, Sizes(4, 2)))
    assert [len(events) for events in splits.values()] == [12, 6]
    assert set(splits["train"].run) == {1}


@pytest.fixture(scope="module")
def faulty(lists, tmp_path_factory):
    """Lists with an event whose hits are not finite, a repeated event, and a truncated file."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copytree(lists, folder, dirs_exist_ok=True)
    events = file_events(0, 1)
    events.eb.energy[events.eb.offsets[4]] = np.nan
    write_aodsim(folder / "h_0.root", events)
    again = Events.concatenate([file_events(0, 2)[1:2], file_events(1, 2)])
    write_aodsim(folder / "gamma_jet_1.root", again)
    cut = folder / "gamma_gamma_0.root"
    cut.write_bytes(cut.read_bytes()[:2000])
    return folder


def test_faults_end_the_reading_with_the_file_and_the_way_out(faulty, make):
    with pytest.raises(SourceError, match=r"gamma_gamma_0\.root.* on_error=skip") as error:
        make(faulty).table()
    assert error.value.path.endswith("gamma_gamma_0.root")


def test_skipped_faults_are_counted_and_replaced(faulty, make):
    source = make(faulty, on_error="skip")
    splits, metadata = both(source), source.metadata()
    skipped = dict(metadata["skipped"])
    assert [skipped.pop(reason) for reason in ("not_finite", "duplicate")] == [1, 1]
    ((reason, files),) = skipped.items()
    assert reason.startswith("file: ")
    assert files == 1
    for split, events in splits.items():
        keys = event_keys(events)
        assert len(set(keys)) == len(keys) == 3 * {"train": 9, "validation": 5}[split]
        assert "_".join(map(str, (1, *file_events(0, 1)[4:5].run, 1, 5))) not in keys
        counts = {name: {str(run): n for run, n in SIZES.quotas(split).items()} for name in LABELS}
        assert metadata["events"][split] == counts


def test_sound_files_are_not_read_again_when_faults_are_skipped_after_all(faulty, make, reads):
    with concurrent.futures.ThreadPoolExecutor(1) as alone, pytest.raises(SourceError):
        make(faulty, executor=alone).table()
    sound = {name for _, name in reads} - {"gamma_gamma_0.root"}
    reads.clear()
    make(faulty, on_error="skip").table()
    assert not {name for step, name in reads if step == "read_candidates"} & sound


def test_a_choice_of_neither_is_refused(lists, make):
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        make(lists, on_error="ignore")


def job(lists, **changes):
    events = file_events(0, 1)[[0, 4]]
    addresses = tuple(zip(*(getattr(events, name).tolist() for name in ("run", "lumi", "event"))))
    return dataclasses.replace(HitsJob(str(lists / "h_0.root"), (0, 4), addresses, 1, CENTRAL), **changes)


def test_the_fingerprint_of_a_job_of_hits_covers_all_that_it_reads(lists):
    one = job(lists)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.fingerprint() == job(lists, on_error="skip", protocol="https").fingerprint()
    changes = ({"file": "b"}, {"entries": (0, 5)}, {"label": 2}, {"state": "1 2"}, {"addresses": ()})
    assert len({one.fingerprint(), *(job(lists, **change).fingerprint() for change in changes)}) == 6
    assert len(str(one)) < 300


def test_kept_hits_come_back_with_their_counts(lists, tmp_path):
    write_hits(tmp_path / "a.npz", hits := read_hits(job(lists)))
    back = read_kept_hits(tmp_path / "a.npz", "fail")
    for one, other in zip(back.events.examples(), hits.events.examples()):
        np.testing.assert_equal(one, other)
    write_hits(tmp_path / "b.npz", opendata.Hits(hits.events, {"bad_id": 2}))
    assert read_kept_hits(tmp_path / "b.npz").skipped == {"bad_id": 2}
    assert read_kept_hits(tmp_path / "b.npz", "fail") is None
    for reason in ("vanished", "unreadable", "changed"):
        write_hits(tmp_path / "c.npz", opendata.Hits(hits.events, {f"file: {reason}": 1}))
        assert read_kept_hits(tmp_path / "c.npz") is None


def test_a_file_that_shrank_is_a_file_that_changed(lists):
    with pytest.raises(SourceError, match="was replaced after it was skimmed"):
        read_hits(job(lists, entries=(0, 400)))


@pytest.mark.parametrize("reason", ["network", "untrusted"])
def test_a_network_that_is_down_is_reported_with_the_way_out(lists, make, monkeypatch, reason):
    def down(path, *_, **__):
        raise SourceError(path, reason, f"{path}: no answer.")

    monkeypatch.setattr(skim.aodsim, "read_candidates", down)
    with pytest.raises(SourceError, match=r"no answer\. What was read is kept; the same command continues"):
        make(lists, on_error="skip").table()


def test_a_file_on_tape_is_told_or_left_out_and_never_kept(lists, make, monkeypatch):
    def offline(path, *args, **options):
        if path.endswith("h_0.root"):
            raise SourceError(path, "offline", f"{path} is on tape.")
        return read(path, *args, **options)

    read = aodsim.read_candidates
    with monkeypatch.context() as patch:
        patch.setattr(aodsim, "read_candidates", offline)
        with pytest.raises(SourceError, match="on tape"):
            make(lists, Sizes(4, 2, eras=ERAS)).table()
        source = make(lists, Sizes(4, 2, eras=ERAS), on_error="skip")
        assert len(both(source)["train"]) == 12
        assert source.metadata()["skipped"] == {"file: offline": 1}
    # When it is online again, it is read normally.
    source = make(lists, Sizes(4, 2, eras=ERAS), on_error="skip")
    assert source.metadata()["skipped"] == {}
    assert "h_0.root" in {path.rpartition("/")[2] for path in source.chosen["h"].files}
