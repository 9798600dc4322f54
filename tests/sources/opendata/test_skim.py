"""Results of the first pass are kept and reused, and events are chosen in the order of the files."""

import collections
import dataclasses
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import from_leading, leading
from e2e_jax.execution.jobs import SPLITS
from e2e_jax.sources.opendata import skim
from e2e_jax.sources.opendata.quotas import ANY_RUN, QuotaError, Sizes, choose, share, split_events, table
from e2e_jax.sources.opendata.skim import FileSkim, SkimJob, read_skim, skim_file, write_skim
from e2e_jax.sources.root.aodsim import Candidates
from e2e_jax.sources.root.file_contents import UNKNOWN, Content
from e2e_jax.studies import hgg
from e2e_jax.study.samples import quotas
from tests.aodsim_file import write_aodsim
from tests.aodsim_lists import ENTRIES, RUNS, file_events

FIELDS = ("entry", "run", "lumi", "event", "mass", "photons", "entries")

CENTRAL, ERAS = hgg.SELECTIONS["central"], hgg.ERAS["central"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_aodsim(tmp_path_factory.mktemp("files") / "sound.root", file_events(0))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A photon of the second entry is not finite."""
    events = file_events(0)
    events.photons.pt[events.photons.offsets[1]] = np.nan
    return write_aodsim(tmp_path_factory.mktemp("files") / "faulty.root", events)


def column(candidates, name):
    if name == "photons":
        return leading(candidates.photons)
    return candidates.observables[name] if name == "mass" else getattr(candidates, name)


def found(runs, first=1, skipped=(), entries=100):
    """A skim with events of these runs, at entries 0, 2, 4, ..."""
    n = len(runs)
    numbers = {"lumi": np.ones(n, np.int64), "event": first + np.arange(n)}
    photons, mass = np.zeros((n, 2, 3), np.float32), np.full(n, 100, np.float32)
    candidates = Candidates(
        entry=2 * np.arange(n),
        run=np.array(runs, np.int64),
        photons=from_leading(photons),
        observables={"mass": mass},
        entries=entries,
        **numbers,
    )
    return FileSkim(candidates, dict(skipped))


def test_a_skim_finds_the_selected_events_with_their_addresses(sound):
    events, candidates = file_events(0), skim_file(SkimJob(sound, CENTRAL)).candidates
    selected = np.arange(ENTRIES) % 4 != 3
    np.testing.assert_array_equal(candidates.entry, np.flatnonzero(selected))
    assert candidates.entries == ENTRIES
    for name in ("run", "lumi", "event"):
        np.testing.assert_array_equal(getattr(candidates, name), getattr(events, name)[selected])
    np.testing.assert_allclose(candidates.observables["mass"], events.mass[selected], rtol=1e-6)


def test_a_kept_skim_comes_back_bit_for_bit_and_alone(tmp_path, sound):
    made = skim_file(SkimJob(sound, CENTRAL))
    write_skim(tmp_path / "deep" / "a.parquet", made)
    back = read_skim(tmp_path / "deep" / "a.parquet", "fail")
    for name in FIELDS:
        one, other = column(back.candidates, name), column(made.candidates, name)
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
    assert os.listdir(tmp_path / "deep") == ["a.parquet"]


def test_a_kept_skim_that_is_absent_or_damaged_is_none(tmp_path):
    path = tmp_path / "a.parquet"
    assert read_skim(path) is None
    write_skim(path, found([]))
    assert len(read_skim(path).candidates) == 0
    for cut in (0, 3, 100, path.stat().st_size - 5):
        path.write_bytes(path.read_bytes()[:cut])
        assert read_skim(path) is None


def test_a_fault_ends_it_or_is_counted(tmp_path, faulty):
    with pytest.raises(SourceError, match=r"faulty\.root") as error:
        skim_file(SkimJob(faulty, CENTRAL))
    assert error.value.reason == "not_finite"
    made = skim_file(SkimJob(faulty, CENTRAL, "skip"))
    assert made.skipped == {"not_finite": 1}
    assert 1 not in made.candidates.entry
    write_skim(tmp_path / "a.parquet", made)
    assert read_skim(tmp_path / "a.parquet", "skip").skipped == made.skipped
    assert read_skim(tmp_path / "a.parquet", "fail") is None


def test_a_file_at_fault_is_counted_but_the_network_never_skipped(tmp_path, monkeypatch):
    (tmp_path / "empty.root").touch()
    made = skim_file(SkimJob(str(tmp_path / "empty.root"), CENTRAL, "skip"))
    ((reason, files),) = made.skipped.items()
    assert reason.startswith("file: ")
    assert (files, len(made.candidates)) == (1, 0)

    def down(*_, **__):
        raise SourceError("root://a//b", "network", "no answer")

    monkeypatch.setattr(skim.aodsim, "read_candidates", down)
    with pytest.raises(SourceError, match="no answer"):
        skim_file(SkimJob("root://a//b", CENTRAL, "skip"))


@pytest.mark.parametrize("reason", ["vanished", "unreadable", "changed", "truncated", "corrupt"])
def test_a_file_that_could_not_be_read_is_tried_again_by_the_next_build(tmp_path, reason):
    write_skim(tmp_path / "a.parquet", found([], skipped={f"file: {reason}": 1}))
    assert not list(tmp_path.iterdir())


def test_a_skim_is_known_by_file_state_category_and_version(tmp_path):
    path = tmp_path / "a.root"
    path.write_bytes(b"1")
    job = SkimJob(str(path), CENTRAL, state=skim.file_state(path))
    for same in ({"on_error": "skip"}, {"protocol": "https"}):
        assert job.fingerprint("1") == dataclasses.replace(job, **same).fingerprint("1")
    path.write_bytes(b"22")
    changed = dataclasses.replace(job, state=skim.file_state(path))
    other = dataclasses.replace(job, select=hgg.SELECTIONS["central_forward"])
    moved = dataclasses.replace(job, file="b.root")
    marks = {
        job.fingerprint("1"),
        job.fingerprint("2"),
        *(t.fingerprint("1") for t in (changed, other, moved)),
    }
    assert len(marks) == 5
    assert skim.file_state("root://host//a.root") == ""


def test_the_first_events_of_each_era_are_chosen_and_no_file_is_taken_after_them():
    a, b, c = RUNS
    taken = []

    def skims():
        for name, runs, first in (("x", [a, a, b, a], 1), ("y", [c, b, b, a], 5), ("z", [a], 9)):
            taken.append(name)
            yield name, found(runs, first)

    chosen = choose(skims(), {a: 2, b: 2, c: 1})
    assert taken == ["x", "y"] == list(chosen.files)
    assert chosen.columns["file"].tolist() == [0, 0, 0, 1, 1]
    assert chosen.columns["entry"].tolist() == [0, 2, 4, 0, 2]
    assert chosen.columns["event"].tolist() == [1, 2, 3, 5, 6]
    assert (chosen.found, chosen.entries, len(chosen)) == ({a: 2, b: 2, c: 1}, 200, 5)


def test_refused_events_are_replaced_by_the_next():
    chosen = choose([("x", found([1, 1, 1]))], {ANY_RUN: 2}, refused={("x", 0)})
    assert chosen.columns["entry"].tolist() == [2, 4]


def test_an_event_that_comes_twice_ends_it_or_is_counted():
    skims = [("x", found([5, 5])), ("y", found([5, 5, 5]))]
    with pytest.raises(
        SourceError, match=r"Entry 0 of y \(run 5, lumi 1, event 1\).* as entry 0 of x"
    ) as error:
        choose(skims, {5: 3})
    assert error.value.reason == "duplicate"
    chosen = choose(skims, {5: 3}, "skip")
    assert chosen.skipped == {"duplicate": 2}
    assert chosen.columns["event"].tolist() == [1, 2, 3]


def test_counts_of_what_was_skipped_add_up_over_the_files():
    skips = [{"not_finite": 2}, {"not_finite": 1, "bad_id": 1}, {"file: truncated": 1}]
    chosen = choose(((str(i), found([1], 1 + i, s)) for i, s in enumerate(skips)), {ANY_RUN: 3})
    assert chosen.skipped == {"not_finite": 3, "bad_id": 1, "file: truncated": 1}


def holding(runs):
    """The chosen events of a label with these numbers of events per run."""
    events = [run for run, number in runs.items() for _ in range(number)]
    return choose([("x", found(events))], runs)


@pytest.mark.parametrize("scarce", range(3))
def test_where_one_label_lacks_events_of_an_era_all_labels_and_splits_get_smaller_alike(scarce):
    sizes, least = Sizes(300, 100, 100, eras=ERAS), 40
    full = sizes.quotas("sample")
    short = full | {RUNS[scarce]: least}
    used = share({"h": holding(full), "gamma_jet": holding(short)}, sizes)
    taken = {run: sum(used[split][run] for split in SPLITS) for run in RUNS}
    assert all(taken[run] <= short[run] for run in RUNS)
    for split in SPLITS:
        asked = sizes.quotas(split)
        for run in RUNS:
            exact = asked[run] * least / full[RUNS[scarce]]
            assert exact - 1 < used[split][run] <= exact


def test_sizes_are_a_limit_that_leftovers_of_the_sample_need_not_reach():
    sizes = Sizes(60, 30, sample=96, eras=ERAS)
    least = {run: sizes.quotas("train")[run] + sizes.quotas("validation")[run] for run in RUNS}
    for found_events in (sizes.quotas("sample"), least):
        for strict in (False, True):
            used = share({"h": holding(found_events)}, sizes, strict)
            assert used == {split: sizes.quotas(split) for split in SPLITS}


def test_too_few_events_are_an_error_where_asked_for_or_if_a_split_would_be_empty():
    sizes = Sizes(6, 4, eras=ERAS)
    one_less = {"h": holding(sizes.quotas("sample") | {RUNS[2]: sizes.quotas("sample")[RUNS[2]] - 1})}
    share(one_less, sizes)
    with pytest.raises(QuotaError):
        share(one_less, sizes, strict=True)
    with pytest.raises(QuotaError):
        share({"h": holding(sizes.quotas("sample") | {RUNS[2]: 0})}, sizes)


def test_too_few_events_are_told_by_class_and_era():
    a, b, _ = RUNS
    quotas = Sizes(300, 100, eras=ERAS).quotas("sample")
    full, short = holding(quotas), choose([("x", found([a, b, b])), ("y", found([1, 1], 7))], quotas)
    with pytest.raises(QuotaError) as error:
        share({"h": full, "gamma_jet": short}, Sizes(300, 100, eras=ERAS))
    message = str(error.value)
    assert f"gamma_jet has run 194533 (2012AB) 1 of {quotas[a]}, run 200519 (2012C) 2 of" in message
    assert "in 2 files with 200 events (and 2 of run 1)" in message
    assert "eras=any" in message
    assert "h has" not in message


def test_the_table_has_a_row_of_each_label_and_era_and_says_what_is_missing():
    sizes = Sizes(300, 100, eras=ERAS)
    full = sizes.quotas("sample")
    short = full | {RUNS[0]: 41}
    chosen = {"gamma_gamma": holding(full), "h": holding(short)}
    used = share(chosen, sizes)
    rows = table(chosen, used, sizes, published=ERAS).splitlines()
    assert [row.split()[0] for row in rows[1:7]] == ["gamma_gamma"] * 3 + ["h"] * 3
    taken = used["train"][RUNS[0]] + used["validation"][RUNS[0]]
    assert rows[0].endswith("Table 1")
    assert rows[4].split()[-3:] == ["41", str(taken), f"{ERAS[0].share:,}"]
    assert f"{sum(map(sum, (quotas.values() for quotas in used.values()))):,} events per label" in rows[7]
    assert len(table({"h": holding(full)}, share({"h": holding(full)}, sizes), sizes).splitlines()) == 4


def test_only_a_published_sample_has_a_column_of_table_1_and_events_of_any_run_its_total():
    sizes = Sizes(7, 4)
    chosen = {"h": choose([("x", found([RUNS[0]] * 12))], sizes.quotas("sample"))}
    used = share(chosen, sizes)
    rows = table(chosen, used, sizes, published=ERAS).splitlines()
    assert rows[1].split() == ["h", "any", "run", "11", "11", "63,052"]
    rows = table(chosen, used, sizes).splitlines()
    assert [row.split()[-2:] for row in rows] == [["found", "used"], ["11", "11"]]


@pytest.mark.parametrize("category", hgg.ERAS)
def test_the_paper_s_sample_has_its_eras_and_holds_its_split(category):
    train, validation = {"central": (51_200, 11_800), "central_forward": (120_000, 15_600)}[category]
    paper = {era.run: era.share for era in hgg.ERAS[category]}
    sizes = Sizes(train, validation, sample=sum(paper.values()), eras=hgg.ERAS[category])
    assert sizes.quotas("sample") == paper
    for split, size in (("train", train), ("validation", validation)):
        assert tuple(sizes.quotas(split).values()) == quotas(size, hgg.ERAS[category])


def test_a_smaller_sample_holds_its_splits_in_every_era():
    for train in range(1, 40):
        sizes = Sizes(train, 7, eras=hgg.ERAS["central"])
        splits = collections.Counter(sizes.quotas("train")) + collections.Counter(sizes.quotas("validation"))
        assert dict(splits) == {run: n for run, n in sizes.quotas("sample").items() if n}
    assert Sizes(30, 7).quotas("sample") == {ANY_RUN: 37}
    with pytest.raises(ValueError, match="sample of 10 events is too small for 30"):
        Sizes(30, 7, sample=10)


def test_the_split_is_random_but_fixed_and_keeps_the_eras():
    sizes = Sizes(60, 30, sample=96, eras=hgg.ERAS["central"])
    run = np.repeat(list(sizes.quotas("sample")), list(sizes.quotas("sample").values()))
    used = {split: sizes.quotas(split) for split in ("train", "validation")}
    split = split_events(run, 1, used, seed=5)
    for place, name in enumerate(("train", "validation")):
        assert {era: np.sum(run[split == place] == era) for era in RUNS} == sizes.quotas(name)
    np.testing.assert_array_equal(split, split_events(run, 1, used, seed=5))
    for other in (split_events(run, 1, used, seed=6), split_events(run, 2, used, seed=5)):
        assert (other != split).any()
    # Neither the first nor the last of an era's events.
    first = split[run == RUNS[1]]
    assert 0 < np.mean(first[: len(first) // 2] == 1) < 1


def test_the_split_of_any_run_takes_all_events_as_one_era():
    split = split_events(np.arange(12), 0, {"train": {ANY_RUN: 7}, "validation": {ANY_RUN: 4}}, seed=1)
    assert [np.sum(split == place) for place in (0, 1, -1)] == [7, 4, 1]


def test_a_damaged_file_is_told_by_its_checksum_and_not_by_what_the_damage_did(sound, tmp_path):
    content = bytearray(Path(sound).read_bytes())
    right = Content(None, zlib.adler32(content))
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    damaged = tmp_path / "damaged.root"
    damaged.write_bytes(content)
    reasons = []
    for stated in (UNKNOWN, right):
        with pytest.raises(SourceError) as error:
            skim_file(SkimJob(str(damaged), CENTRAL, content=stated))
        reasons.append(error.value.reason)
    assert reasons[0] != "checksum_mismatch"
    assert reasons[1] == "checksum_mismatch"
    skipped = skim_file(SkimJob(str(damaged), CENTRAL, "skip", content=right))
    assert (len(skipped.candidates), skipped.skipped) == (0, {"file: checksum_mismatch": 1})


def test_a_file_is_compared_with_what_its_list_states(sound):
    content = Path(sound).read_bytes()
    right = Content(len(content), zlib.adler32(content))
    assert len(skim_file(SkimJob(sound, CENTRAL, content=right)).candidates)
    for wrong, reason in (
        (Content(len(content) + 1), "size_mismatch"),
        (Content(None, right.adler32 ^ 1), "checksum_mismatch"),
    ):
        with pytest.raises(SourceError) as error:
            skim_file(SkimJob(sound, CENTRAL, content=wrong))
        assert error.value.reason == reason
    assert SkimJob(sound, CENTRAL).fingerprint() != SkimJob(sound, CENTRAL, content=right).fingerprint()
