"""The baskets of one branch of a tree: where they are, and the lists of numbers in them.

A basket is a compressed piece of a branch: a key, the numbers of some entries, and where each entry
starts (TBasket, TKey and RZip of ROOT's TFile documentation). The checksum of the compression covers
the numbers, nothing covers the key and the tree's table of baskets: so all that these say twice is
compared.
"""

from __future__ import annotations

import dataclasses
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

    def holding(self, entries: np.ndarray) -> list[int]:
        """The baskets that hold any of the ascending entries."""
        inside = np.diff(np.searchsorted(entries, self.offsets))
        return np.flatnonzero(inside).tolist()

    def range(self, basket: int) -> tuple[int, int]:
        """First byte of a basket in the file, and the one behind it."""
        return int(self.seeks[basket]), int(self.seeks[basket] + self.sizes[basket])

    def decode(self, basket: int, chunk, entries: np.ndarray) -> Column:
        """The numbers of those of the ascending entries that a basket holds.

        Args:
          chunk: uproot's chunk of the basket's bytes.
        """
        data, starts = self._lists(basket, chunk)
        first, last = np.searchsorted(entries, self.offsets[basket : basket + 2])
        rows = entries[first:last] - self.offsets[basket]
        begin, end = starts[rows] + self.header, starts[rows + 1]
        counts = end - begin
        consecutive = rows[-1] - rows[0] + 1 == len(rows)
        if consecutive and not self.header:
            part = data[begin[0] : end[-1]]
        elif consecutive and (counts == counts[0]).all():
            part = data[begin[0] - self.header : end[-1]].reshape(len(rows), -1)[:, self.header :].reshape(-1)
        else:
            part = data[np.arange(counts.sum()) + np.repeat(begin - np.cumsum(counts) + counts, counts)]
        if (counts % self.dtype.itemsize).any() or (counts < 0).any():
            raise corrupt(self.path, self.name, basket, f"its lists are not of whole {self.dtype.name}")
        values = part.view(self.dtype).astype(self.dtype.newbyteorder("="))
        return Column(counts // self.dtype.itemsize, values)

    def join(self, parts: Sequence[Column]) -> Column:
        """The columns of several baskets as one."""
        if len(parts) == 1:
            return parts[0]
        empty = Column(np.zeros(0, np.int64), np.zeros(0, self.dtype.newbyteorder("=")))
        return Column(*(np.concatenate(columns) for columns in zip(empty, *parts)))

    def _lists(self, number: int, chunk) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of a basket's numbers and where each entry's start, int64 `[entries + 1]`."""
        expected = int(self.offsets[number + 1] - self.offsets[number])
        self._check_key(number, chunk)
        cursor = uproot.source.cursor.Cursor(chunk.start)
        file = self.branch.file
        basket = uproot.models.TBasket.Model_TBasket.read(
            chunk, cursor, {"basket_num": number}, file, file, self.branch
        )
        data, starts = basket.data, basket.byte_offsets
        if basket.member("fNevBuf") != expected:
            why = f"it has {basket.member('fNevBuf')} entries, but {expected} in the tree"
            raise corrupt(self.path, self.name, number, why)
        if self.length is not None:
            starts = np.arange(expected + 1) * self.length * self.dtype.itemsize
        elif starts is None and len(data) == 0:
            starts = np.zeros(expected + 1)
        if starts is None or len(starts) != expected + 1 or starts[0] != 0 or starts[-1] != len(data):
            raise corrupt(
                self.path, self.name, number, f"its {len(data)} bytes are not those of {expected} lists"
            )
        starts = starts.astype(np.int64)
        if (starts[1:] < starts[:-1]).any():
            raise corrupt(self.path, self.name, number, "its lists overlap")
        return data, starts

    def _check_key(self, number: int, chunk):
        """The key's length is that of the tree's table, and its name is the branch's."""
        head = bytes(chunk.raw_data[: _KEY_BYTES + 600])
        length, key_length = int.from_bytes(head[:4], "big"), int.from_bytes(head[14:16], "big")
        start, stop = self.range(number)
        if length != stop - start or not _KEY_BYTES <= key_length < length:
            why = f"it has {length} bytes, {key_length} of them a key, but {stop - start} in the tree"
            raise corrupt(self.path, self.name, number, why)
        name = self.name.encode()
        if b"\x07TBasket" + bytes([len(name)]) + name not in head[:key_length]:
            raise corrupt(self.path, self.name, number, "it names another branch")


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
