"""Reads and checks trees of ROOT files, branch by branch.

uproot finds and decompresses the baskets. Every error that it raises on a damaged file becomes a
`SourceError`.

Guaranteed: if a checksum covers the numbers, a damaged file either raises a `SourceError` or gives the
numbers that were written. A checksum covers
- each basket compressed with zlib (as in CMS files of 2012), LZMA or LZ4;
- a whole local file, if its list states a checksum (`file_contents`).
No checksum of ROOT covers keys and tables, so they are compared with each other: the tree's number of
entries; the positions, lengths, entries, branch names and offsets of the baskets; the lengths of the branches
of one collection. The readers (`aodsim`, `ntuple`, `rec_hits`) check the range of every column.

Not guaranteed: ROOT stores a basket uncompressed if compression does not make it smaller. Damage to the
numbers in such a basket is detected only if a number is out of range, or an id names no cell or breaks the
order of ids. For a remote file, the size is compared with the list, but not the checksum, which would need
the whole file. `benchmarks/mutations.py` counts undetected damage.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import glob
import itertools
import os
import pathlib
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import uproot

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import Events
from e2e_jax.events.identity import SeenEvents, identities
from e2e_jax.sources.root import baskets, file_contents, portal, remote
from e2e_jax.sources.root.faults import Faults
from e2e_jax.sources.root.reading import AS_IS, Reading

__all__ = ["RAW", "Column", "SourceError", "Tree", "each_tree", "expand", "open_tree"]

MAX_BYTES = 8 * 2**20
"""Maximum uncompressed bytes of a group of `Tree.groups`: a group fits the cache until its data are used."""

RAW, Column = baskets.RAW, baskets.Column

Types = Mapping[str, Sequence[str]]
"""Branch -> allowed types of its numbers."""


def expand(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[str]:
    """Expand a path, a glob pattern, or a list of both to files, in order; remote addresses do not change.

    Raises:
      SourceError: the list is empty ("empty"), a pattern has no match ("vanished"), or a file is named twice
        ("duplicate").
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [file for path in given for file in _matches(os.fspath(path))]
    if not files:
        raise SourceError("", "empty", "The list of files is empty: name at least one file to read.")
    seen = {}
    for file in files:
        name = file if remote.is_remote(file) else os.path.realpath(file)
        if name in seen:
            message = (
                f"{file} is listed twice, the first time as {seen[name]}: its events would count double. "
                "Take one of them off the list."
            )
            raise SourceError(file, "duplicate", message)
        seen[name] = file
    return files


def _matches(path: str) -> list[str]:
    if remote.is_remote(path) or not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(os.path.expanduser(path), recursive=True))
    if not found:
        raise SourceError(path, "vanished", f"No file matches {path}. Check the pattern.")
    return found


def each_tree(
    paths,
    name: str,
    tables: Sequence[Types],
    read: Callable[[Tree, Faults], Iterator[Events]],
    reading: Reading = AS_IS,
) -> Iterator[Events]:
    """Yield the non-empty results of `read` for the tree of each file in turn.

    Args:
      paths: as in `expand`.
      name, tables: as in `open_tree`.
      read: function of a tree and its `Faults`.
      reading: how files are read.

    Raises:
      SourceError: as `expand` and `open_tree`; an event is in two of the files ("duplicate").
    """
    files, seen = expand(paths), SeenEvents()
    for number, file in enumerate(files):
        with reading.file(), open_tree(file, name, *tables, reading=reading) as tree:
            for events in read(tree, reading.faults(tree.path)):
                if len(files) > 1:
                    first = seen.first_source(identities(events), number)
                    reading.repeated(file, vars(events), first, files)
                    events = events if (first < 0).all() else events[first < 0]
                if len(events):
                    yield events


@contextlib.contextmanager
def open_tree(
    path: str | os.PathLike,
    name: str,
    *tables: Types,
    reading: Reading = AS_IS,
    content: file_contents.Content = file_contents.UNKNOWN,
) -> Iterator[Tree]:
    """Open a tree of a file and find the branches to read, at any depth.

    Args:
      path: a local file or a remote address.
      name: the tree.
      *tables: name of each branch -> allowed types of its numbers, such as ("float32",), or (RAW,). The first
        table whose branches the tree has is used.
      reading: how files are read.
      content: expected size and checksum, if the list of files states them.

    Raises:
      SourceError: here or while reading. Reasons: those of `remote.open_file`, "truncated", "unreadable" (not
        a ROOT file), "size_mismatch", "checksum_mismatch", "missing_tree", "missing_branch", "wrong_type",
        "empty" (no entries), "corrupt".
    """
    path = portal.address(os.fspath(path), reading.protocol)
    with contextlib.ExitStack() as stack:
        with _translated(path, f"opening {name}"):
            _check_start(path)
            file = stack.enter_context(remote.open_file(path, reading.timeout, reading.retries))
            # The checksum of a remote file would need the whole file.
            blocks = None if remote.is_remote(path) else remote.blocks(path)
            file_contents.check(path, file.file.source.num_bytes, content, blocks)
            tree = _with_table(path, _tree(path, file, name), tables)
        yield tree


def _with_table(path: str, tree: uproot.TTree, tables: Sequence[Types]) -> Tree:
    """The tree with the first table that fits it; if none fits, raises the error of the first table."""
    errors = []
    for place, table in enumerate(tables):
        try:
            return Tree(path, tree, table, place)
        except SourceError as error:
            if error.reason != "missing_branch":
                raise
            errors.append(error)
    raise errors[0]


def _tree(path: str, file, name: str) -> uproot.TTree:
    """The tree of an open file; raises if it is missing or incomplete."""
    if file.file.fEND > file.file.source.num_bytes:
        raise _truncated(path, file.file.source.num_bytes, file.file.fEND)
    if name not in file:
        found = ", ".join(sorted({key.split(";")[0] for key in file})[:10]) or "nothing"
        message = f"{path} has no tree {name}; it holds {found}. Is it a file of another kind?"
        raise SourceError(path, "missing_tree", message)
    tree = file[name]
    if not isinstance(tree, uproot.TTree):
        message = f"{name} in {path} is a {type(tree).__name__}, not a TTree. Is it a file of another kind?"
        raise SourceError(path, "wrong_type", message)
    if tree.num_entries <= 0:
        raise SourceError(path, "empty", f"{name} in {path} has no entries. Take the file off the list.")
    return tree


class Tree:
    """An open tree with checked branches.

    Attributes:
      path: the file.
      entries: number of entries.
      table: index of its table among the arguments of `open_tree`.
    """

    def __init__(self, path: str, tree: uproot.TTree, types: Types, table: int = 0):
        self.path, self.entries, self.table, self._tree = path, int(tree.num_entries), table, tree
        branches = _find(path, tree, types)
        self._branches = {
            leaf: baskets.Branch.of(path, branches[leaf], types[leaf], self.entries) for leaf in branches
        }

    def read(self, names: Iterable[str], entries: np.ndarray | None = None) -> dict[str, Column]:
        """Read branches for all or some entries.

        Only the baskets that contain one of the entries are fetched, for all branches in one request.

        Args:
          entries: ascending entry numbers.

        Returns:
          name -> `Column`.
        """
        entries = np.arange(self.entries) if entries is None else np.asarray(entries, np.int64)
        names = list(names)
        with _translated(self.path, f"reading {', '.join(names)}"):
            wanted = [(name, number) for name in names for number in self._branches[name].holding(entries)]
            ranges = [self._branches[name].range(number) for name, number in wanted]
            self._check_ranges(ranges, wanted)
            parts, chunks = {name: {} for name in names}, self._fetch(ranges)
            # Chunks are released one by one, to limit memory.
            for (name, number), chunk in zip(wanted, _consumed(chunks)):
                parts[name][number] = self._branches[name].unpack(number, chunk)
            return {name: self._branches[name].join(entries, parts.pop(name)) for name in names}

    def groups(
        self, names: Iterable[str], entries: np.ndarray, max_bytes: int = MAX_BYTES
    ) -> list[np.ndarray]:
        """Split ascending entries into groups whose branches take a bounded number of bytes.

        A group ends where the baskets of all branches end, so no basket is read twice, unless there are too
        many entries between two such boundaries.
        """
        branches = [self._branches[name] for name in names]
        bounds = functools.reduce(np.intersect1d, [branch.offsets for branch in branches])
        size = max(1.0, sum(branch.bytes for branch in branches) / self.entries)
        limit = max(1, int(max_bytes // size))
        cuts, last = [0], 0
        for end in bounds.tolist():
            if end - cuts[-1] > limit and last > cuts[-1]:
                cuts.append(last)
            while end - cuts[-1] > limit:
                cuts.append(cuts[-1] + limit)
            last = end
        pieces = np.split(entries, np.searchsorted(entries, cuts[1:]))
        return [piece for piece in pieces if len(piece)]

    def _fetch(self, ranges: list[tuple[int, int]]) -> list:
        return self._tree.file.source.chunks(ranges, notifications=queue.Queue()) if ranges else []

    def _check_ranges(self, ranges, wanted):
        size = self._tree.file.source.num_bytes
        for (name, number), (start, stop) in zip(wanted, ranges):
            if not 0 < start < stop:
                raise baskets.corrupt(self.path, name, number, f"it lies at byte {start} to {stop}")
            if stop > size:
                raise _truncated(self.path, size, stop)
        order = sorted(range(len(ranges)), key=ranges.__getitem__)
        for before, after in itertools.pairwise(order):
            if ranges[after][0] < ranges[before][1]:
                raise baskets.corrupt(self.path, *wanted[after], "it lies where another basket is")


def _consumed(chunks: list) -> Iterator:
    """Yield chunks and release each one when the next is requested."""
    chunks.reverse()
    while chunks:
        yield chunks.pop()


def _find(path: str, tree: uproot.TTree, types: Types) -> dict[str, uproot.TBranch]:
    """Find the branches by name. The top branch of each is a prefix of its name, so no paths are needed."""
    tops = [branch for branch in tree.branches if any(name.startswith(branch.name) for name in types)]
    found = {}
    for top in tops:
        for branch in (top, *top.itervalues(recursive=True)):
            if branch.name in types and found.setdefault(branch.name, branch) is not branch:
                message = f"{path} has two branches {branch.name}. The file is damaged: fetch it again."
                raise SourceError(path, "corrupt", message)
    for name in types:
        if name not in found:
            near = difflib.get_close_matches(name, [branch.name for branch in tree.branches], n=3, cutoff=0.4)
            hint = f" Nearest to it: {', '.join(near)}." if near else ""
            message = (
                f"{path} has no branch {name} in {tree.name}.{hint} Is it a file of another kind, or of "
                "another release? Take it off the list."
            )
            raise SourceError(path, "missing_branch", message)
    return found


@contextlib.contextmanager
def _translated(path: str, doing: str) -> Iterator[None]:
    """Convert every error that a reader raises on a bad file to a SourceError."""
    try:
        yield
    except (SourceError, ModuleNotFoundError):
        raise
    except Exception as error:
        raise _diagnosed(path, doing, error) from error


def _diagnosed(path: str, doing: str, error: Exception) -> SourceError:
    """The SourceError for an error of uproot."""
    try:
        _check_start(path)
    except SourceError as found:
        return found
    words = " ".join(str(error).split())[:300]
    return SourceError(
        path,
        "corrupt",
        f"{path} is damaged; {doing[:200]} failed with {type(error).__name__}: {words}. Fetch it again.",
    )


def _check_start(path: str):
    """Raise a SourceError if the first bytes of a local file show that it is truncated or not a ROOT file."""
    if remote.is_remote(path) or not os.path.isfile(path):
        return
    with pathlib.Path(path).open("rb") as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(20)
    if head[:4] != b"root"[: len(head)]:
        message = f"{path} is no ROOT file: it starts with {head[:8]!r}. Check the list of files."
        raise SourceError(path, "unreadable", message)
    # The end of the file is stored in 4 bytes, or 8 for versions over a million (ROOT's TFile.h).
    wide = int.from_bytes(head[4:8], "big") >= 1_000_000
    end = int.from_bytes(head[12:20] if wide else head[12:16], "big")
    if len(head) < 20 or end > size:
        raise _truncated(path, size, max(end, 20))


def _truncated(path: str, size: int, expected: int) -> SourceError:
    message = f"{path} is cut: it has {size:,} bytes of at least {expected:,}. Fetch it again."
    return SourceError(path, "truncated", message)
