"""The baskets of one branch of a tree: where they are, and the lists of numbers in them.

A basket is a compressed piece of a branch: a key, the numbers of some entries, and where each entry
starts (TBasket, TKey and RZip of ROOT's TFile documentation). The checksum of the compression covers
the numbers, nothing covers the key and the tree's table of baskets: so all that these say twice is
compared.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import uproot
import uproot.models.TBasket
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from e2e_jax.sources.errors import SourceError

RAW = "raw"
"""The type of a branch whose entries are taken as bytes, whatever class they hold."""

_KEY_BYTES = 26
"""Least length of a basket's key."""


class Column(NamedTuple):
    """The lists of numbers of some entries.

    counts: int64 `[entries]`; values: flat array of native byte order, `[counts.sum()]`.
    """

    counts: np.ndarray
    values: np.ndarray


def corrupt(path: str, branch: str, basket: int, why: str) -> SourceError:
    """The error of a basket that contradicts its tree."""
    message = (
        f"{path} is damaged: basket {basket} of branch {branch} cannot be right, as {why}. Fetch it again."
    )
    return SourceError(path, "corrupt", message)


@dataclasses.dataclass(frozen=True)
class Branch:
    """A branch of numbers, of which each entry has a list.

    Attributes:
      path, name: file and branch, for messages.
      branch: uproot's.
      dtype: of the numbers, as stored.
      header: bytes in front of each entry's numbers.
      length: numbers of each entry where it is fixed, else None.
      offsets: int64 `[baskets + 1]`, first entry of each basket and the end.
      seeks, sizes: int64 `[baskets]`, where each basket lies in the file, and its bytes.
      bytes: of all the numbers, decompressed.
    """

    path: str
    name: str
    branch: uproot.TBranch
    dtype: np.dtype
    header: int
    length: int | None
    offsets: np.ndarray
    seeks: np.ndarray
    sizes: np.ndarray
    bytes: int

    @classmethod
    def of(cls, path: str, branch: uproot.TBranch, types: Sequence[str], entries: int) -> Branch:
        """Reads the table of a branch's baskets and checks it.

        Raises:
          SourceError: the numbers are of none of the `types` ("wrong_type"), or the table contradicts
            itself ("corrupt").
        """
        dtype, header, length = _kind(path, branch, types)
        name, number = branch.name, branch.num_baskets
        seeks = np.array(branch.member("fBasketSeek")[:number], np.int64)
        sizes = np.array(branch.member("fBasketBytes")[:number], np.int64)
        offsets = np.array(branch.member("fBasketEntry")[: number + 1], np.int64)
        if branch.embedded_baskets or not number:
            message = (
                f"Branch {name} of {path} keeps entries outside of baskets, as a file does whose writing was "
                "interrupted. Fetch it again, or write it again with hadd."
            )
            raise SourceError(path, "corrupt", message)
        if len(offsets) != number + 1 or offsets[0] != 0 or (np.diff(offsets) <= 0).any():
            raise corrupt(path, name, 0, f"the baskets start at entries {offsets[:5].tolist()} ...")
        if offsets[-1] != entries or branch.num_entries != entries:
            found = f"it has {branch.num_entries} entries, its baskets {offsets[-1]}, the tree {entries}"
            raise corrupt(path, name, number - 1, found)
        stored = np.clip(int(branch.member("fTotBytes")), sizes.sum(), 100 * sizes.sum())
        return cls(path, name, branch, dtype, header, length, offsets, seeks, sizes, int(stored))

    def holding(self, entries: np.ndarray) -> list[tuple[int, np.ndarray | None]]:
        """The baskets that hold any of the ascending entries, and which rows of each; None for all."""
        edges = np.searchsorted(entries, self.offsets)
        lengths = np.diff(self.offsets)
        found = []
        for number in np.flatnonzero(np.diff(edges)).tolist():
            first, last = edges[number], edges[number + 1]
            whole = last - first == lengths[number]
            found.append((number, None if whole else entries[first:last] - self.offsets[number]))
        return found

    def range(self, basket: int) -> tuple[int, int]:
        """First byte of a basket in the file, and the one behind it."""
        return int(self.seeks[basket]), int(self.seeks[basket] + self.sizes[basket])

    def decode(self, number: int, rows: np.ndarray | None, chunk) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of the lists of some entries of a basket: how many of each, and what they are.

        Args:
          number: the basket.
          rows: ascending, counted from the first entry of the basket; None for all.
          chunk: uproot's chunk of the basket's bytes.
        """
        data, starts = self._lists(number, chunk)
        begin, end = starts[:-1], starts[1:]
        if rows is not None:
            begin, end = begin[rows], end[rows]
        counts = end - begin - self.header
        if counts.min() < 0:
            raise corrupt(self.path, self.name, number, "its lists overlap")
        if rows is None and not self.header:
            return counts, data
        if (counts == counts[0]).all() and (rows is None or rows[-1] - rows[0] + 1 == len(rows)):
            table = data[begin[0] : end[-1]].reshape(len(counts), -1)
            return counts, table[:, self.header :].reshape(-1)
        places = np.repeat(begin + self.header - np.cumsum(counts) + counts, counts)
        return counts, data[np.arange(len(places)) + places]

    def join(self, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Column:
        """What `decode` gave of several baskets, as numbers."""
        size = self.dtype.itemsize
        counts = np.concatenate([np.zeros(0, np.int64), *(counts for counts, _ in parts)])
        data = np.concatenate([np.zeros(0, np.uint8), *(data for _, data in parts)])
        if size > 1 and (counts % size).any():
            raise corrupt(self.path, self.name, 0, f"its lists are not of whole {self.dtype.name}")
        values = data.view(self.dtype)
        return Column(counts // size, values.astype(self.dtype.newbyteorder("="), copy=False))

    def _lists(self, number: int, chunk) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of a basket's numbers and where each entry's start, `[entries + 1]`."""
        expected = int(self.offsets[number + 1] - self.offsets[number])
        self._check_key(number, chunk)
        basket = self._decompressed(number, chunk)
        data, starts = basket.data, basket.byte_offsets
        if basket.member("fNevBuf") != expected:
            why = f"it has {basket.member('fNevBuf')} entries, but {expected} in the tree"
            raise corrupt(self.path, self.name, number, why)
        if self.length is not None:
            starts = np.arange(expected + 1) * self.length * self.dtype.itemsize
        elif starts is None and len(data) == 0:
            starts = np.zeros(expected + 1, np.int64)
        if starts is None or len(starts) != expected + 1 or starts[0] != 0 or starts[-1] != len(data):
            why = f"its {len(data)} bytes are not those of {expected} lists"
            raise corrupt(self.path, self.name, number, why)
        return data, starts

    def _decompressed(self, number: int, chunk) -> uproot.models.TBasket.Model_TBasket:
        cursor, file = uproot.source.cursor.Cursor(chunk.start), self.branch.file
        context = {"basket_num": number}
        return uproot.models.TBasket.Model_TBasket.read(chunk, cursor, context, file, file, self.branch)

    def _check_key(self, number: int, chunk):
        """The key's length is that of the tree's table, and its name is the branch's."""
        head = chunk.raw_data[: _KEY_BYTES + len(self._key) + 100].tobytes()
        length, key_length = int.from_bytes(head[:4], "big"), int.from_bytes(head[14:16], "big")
        if length != self.sizes[number] or not _KEY_BYTES <= key_length < length:
            why = f"it has {length} bytes, {key_length} of them a key, but {self.sizes[number]} in the tree"
            raise corrupt(self.path, self.name, number, why)
        if self._key not in head[:key_length]:
            raise corrupt(self.path, self.name, number, "it names another branch")

    @functools.cached_property
    def _key(self) -> bytes:
        """The class and name in the key of each basket."""
        name = self.name.encode()
        return b"\x07TBasket" + bytes([len(name)]) + name


def _kind(path: str, branch: uproot.TBranch, types: Sequence[str]) -> tuple[np.dtype, int, int | None]:
    """Type, header bytes and fixed length of a branch's numbers."""
    if tuple(types) == (RAW,):
        return np.dtype(np.uint8), 0, None
    try:
        kind = branch.interpretation
    except Exception:  # uproot cannot tell what it is: then it is not what is wanted
        kind = None
    content, header, length = kind, 0, None
    if isinstance(kind, AsJagged):
        content, header = kind.content, kind.header_bytes
    elif isinstance(kind, AsDtype):
        length = int(np.prod(kind.inner_shape))
    dtype = content.from_dtype.base if isinstance(content, AsDtype) else None
    if dtype is None or dtype.newbyteorder("=").name not in types:
        found = "of a class uproot does not know" if kind is None else str(branch.typename)
        message = f"Branch {branch.name} of {path} is {found}; expected lists of {' or '.join(types)}."
        raise SourceError(path, "wrong_type", f"{message} Is it a file of another kind?")
    return dtype, header, length
