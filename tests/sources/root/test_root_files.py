import pickle
import shutil
from pathlib import Path

import awkward
import numpy as np
import pytest
import uproot

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import root_files
from tests.aodsim_file import write_branches

TYPES = {"a": ("float32",), "b.c": ("int32",), "raw": (root_files.RAW,)}
ENTRIES, CLUSTER = 47, 6


@pytest.fixture(scope="module")
def lists():
    random = np.random.default_rng(3)
    counts = random.integers(0, 30, ENTRIES)
    counts[:CLUSTER] = 0  # an empty basket
    a = random.integers(0, 9, counts.sum()).astype(np.float32)
    return {
        "a": awkward.unflatten(a, counts),
        "b.c": awkward.unflatten(np.arange(counts.sum(), dtype=np.int32), counts),
        "raw": awkward.unflatten(np.arange(3 * ENTRIES, dtype=np.uint8), np.full(ENTRIES, 3)),
    }


@pytest.fixture(scope="module")
def path(lists, tmp_path_factory):
    return write_branches(tmp_path_factory.mktemp("root") / "file.root", lists, cluster=CLUSTER, tree="T")


def read(path, names=TYPES, entries=None, types=TYPES):
    with root_files.open_tree(path, "T", types) as tree:
        return tree.read(names, entries)


@pytest.mark.parametrize(
    "entries",
    [None, [0], [46], [0, 1, 2, 3, 4, 5], [5, 6], [7, 9, 30], np.arange(3, 40), np.arange(0, 47, 2), []],
    ids=str,
)
def test_what_is_read_is_what_was_written(path, lists, entries):
    columns = read(path, entries=entries)
    for name, written in lists.items():
        expected = written if entries is None else written[np.asarray(entries, np.int64)]
        np.testing.assert_array_equal(columns[name].counts, awkward.num(expected))
        np.testing.assert_array_equal(columns[name].values, awkward.flatten(expected))
        assert columns[name].values.dtype == awkward.flatten(written).layout.dtype
        assert columns[name].values.dtype.isnative


def test_only_baskets_that_hold_the_entries_are_fetched(path, monkeypatch):
    fetched = []
    original = root_files.Tree._fetch
    monkeypatch.setattr(
        root_files.Tree, "_fetch", lambda self, ranges: fetched.append(ranges) or original(self, ranges)
    )
    read(path, ["a"], [7, 8, 46])
    assert [len(ranges) for ranges in fetched] == [2]


@pytest.mark.parametrize("max_bytes", [1, 300, 2000, 2**30])
def test_groups_are_bounded_complete_and_end_with_baskets(path, max_bytes):
    with root_files.open_tree(path, "T", TYPES) as tree:
        groups = tree.groups(TYPES, np.arange(ENTRIES), max_bytes)
        one = 1 + max_bytes * ENTRIES // sum(branch.bytes for branch in tree._branches.values())
    np.testing.assert_array_equal(np.concatenate(groups), np.arange(ENTRIES))
    assert max(map(len, groups)) <= one
    if one > CLUSTER:
        assert all(group[0] % CLUSTER == 0 for group in groups)


def test_numbers_behind_a_header_are_read(path, lists):
    """As in branches of std::vector, whose entries begin with a header of ten bytes."""
    numbers = lists["a"]
    content = [b"0123456789" + np.asarray(some, ">f4").tobytes() for some in numbers]
    entries = awkward.unflatten(np.frombuffer(b"".join(content), np.uint8), [len(entry) for entry in content])
    file = write_branches(Path(path).parent / "header.root", {"v": entries}, cluster=CLUSTER, tree="T")
    some = [1, 8, 9, 30]
    with root_files.open_tree(file, "T", {"v": ("uint8",)}) as tree:
        branch = tree._branches["v"]
        for name, value in {"dtype": np.dtype(">f4"), "header": 10}.items():
            object.__setattr__(branch, name, value)
        everything, picked = tree.read(["v"])["v"], tree.read(["v"], some)["v"]
    np.testing.assert_array_equal(everything.values, awkward.flatten(numbers))
    np.testing.assert_array_equal(picked.values, awkward.flatten(numbers[some]))
    np.testing.assert_array_equal(picked.counts, awkward.num(numbers[some]))


def test_fixed_arrays_are_lists_of_equal_length(tmp_path):
    values = np.arange(60, dtype=np.float32).reshape(10, 6)
    with uproot.recreate(tmp_path / "fixed.root") as file:
        file.mktree("T", {"x": (np.float32, (6,)), "y": np.int64}).extend({"x": values, "y": np.arange(10)})
    columns = read(tmp_path / "fixed.root", ["x", "y"], [2, 7], {"x": ("float32",), "y": ("int64",)})
    assert columns["x"].counts.tolist() == [6, 6]
    np.testing.assert_array_equal(columns["x"].values, values[[2, 7]].ravel())
    assert columns["y"].values.tolist() == [2, 7]


def fault(path, types=TYPES, name="T"):
    with pytest.raises(SourceError) as raised, root_files.open_tree(path, name, types) as tree:
        tree.read(types)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return raised.value


def test_missing_things_are_named(path, tmp_path):
    error = fault(path, name="Trees")
    assert (error.reason, "T" in str(error)) == ("missing_tree", True)
    error = fault(path, TYPES | {"b.d": ("int32",)})
    assert (error.reason, "b.d" in str(error)) == ("missing_branch", True)
    assert "b.c" in str(error)  # the nearest
    assert fault(tmp_path / "none.root").reason == "vanished"
    assert fault(tmp_path).reason in ("unreadable", "vanished")


@pytest.mark.parametrize("types", [("float64",), ("int32",), ("uint8",)])
def test_another_type_is_refused(path, types):
    error = fault(path, {"a": types})
    assert error.reason == "wrong_type"
    assert "float" in str(error)
    assert types[0] in str(error)


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.root").write_text("no ROOT file at all, but longer than a header would be\n" * 20)
    (tmp_path / "nothing.root").touch()
    assert fault(tmp_path / "text.root").reason == "unreadable"
    assert fault(tmp_path / "nothing.root").reason == "truncated"
    with uproot.recreate(tmp_path / "histogram.root") as file:
        file["T"] = np.histogram([1, 2, 3])
    assert fault(tmp_path / "histogram.root").reason == "wrong_type"


def test_a_tree_without_entries_is_refused(tmp_path):
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("T", {"a": "var * float32"})
    assert fault(tmp_path / "empty.root", {"a": ("float32",)}).reason == "empty"


def test_a_cut_file_is_called_cut(path, tmp_path):
    content = Path(path).read_bytes()
    for length in (3, 20, 90, len(content) // 3, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.root").write_bytes(content[:length])
        assert fault(tmp_path / "cut.root").reason in ("truncated", "unreadable")


def test_a_file_that_shrinks_while_it_is_read_is_called_cut(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path / "shrinks.root"))
    with root_files.open_tree(copy, "T", TYPES) as tree:
        with copy.open("r+b") as file:
            file.truncate(tree._branches["a"].seeks[-1] + 10)
        with pytest.raises(SourceError) as raised:
            tree.read(TYPES)
    assert raised.value.reason == "truncated"


@pytest.mark.parametrize("what", ["seeks", "sizes", "offsets"])
def test_a_basket_that_contradicts_the_tree_is_refused(path, what):
    with root_files.open_tree(path, "T", TYPES) as tree:
        branch = tree._branches["a"]
        values = getattr(branch, what)
        if what == "offsets":
            values[1] += 1
        else:
            values[2], values[3] = values[3], values[2] + (what == "sizes")
        if what == "seeks":
            branch.sizes[2], branch.sizes[3] = branch.sizes[3], branch.sizes[2]
            values[4] = values[5]  # two branches' baskets at one position made uproot wait without end
        with pytest.raises(SourceError) as raised:
            tree.read(["a"])
    assert raised.value.reason == "corrupt"
    assert " a " in str(raised.value)


def test_errors_of_the_caller_pass(path):
    with pytest.raises(ZeroDivisionError), root_files.open_tree(path, "T", TYPES):
        raise ZeroDivisionError


def test_lists_of_files(tmp_path):
    names = [str(tmp_path / f"{i}.root") for i in range(3)]
    for name in names:
        Path(name).touch()
    assert root_files.expand(names[1]) == [names[1]]
    assert root_files.expand(tmp_path / "*.root") == names
    remote = "root://server//a*b.root"
    assert root_files.expand([names[2], remote, Path(names[0])]) == [names[2], remote, names[0]]
    for paths, reason in (
        ([], "empty"),
        (str(tmp_path / "*.txt"), "vanished"),
        ([names[0], str(tmp_path / "x" / ".." / "0.root")], "duplicate"),
        ([remote, remote], "duplicate"),
    ):
        with pytest.raises(SourceError) as raised:
            root_files.expand(paths)
        assert raised.value.reason == reason


def test_errors_come_back_from_other_processes():
    error = pickle.loads(pickle.dumps(SourceError("f.root", "corrupt", "f.root is damaged")))
    assert (error.path, error.reason, str(error)) == ("f.root", "corrupt", "f.root is damaged")
