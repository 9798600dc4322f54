"""The baskets of one branch of a tree: their positions, and the lists of numbers in them.

A basket is a compressed piece of a branch: a key, the numbers of some entries, and the start of each entry
(TBasket, TKey and RZip of ROOT's TFile documentation). The checksum of the compression covers the numbers.
No checksum covers the key and the tree's table of baskets, so values stored in both are compared.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import uproot
import uproot.models.TBasket
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from e2e_jax.errors import SourceError

RAW = "raw"
"""The type of a branch whose entries are read as bytes, for any class."""


class Column(NamedTuple):
    """The lists of numbers of some entries.

    counts: int64 `[entries]`; values: flat array of native byte order, `[counts.sum()]`.
    """

    counts: np.ndarray
    values: np.ndarray


def corrupt(path: str, branch: str, basket: int, why: str) -> SourceError:
    """The error for a basket that contradicts its tree."""
    message = (
        f"{path} is damaged: basket {basket} of branch {branch} cannot be right, as {why}. Fetch it again."
    )
    return SourceError(path, "corrupt", message)


@dataclasses.dataclass(frozen=True)
class Branch:
    """A branch with a list of numbers per entry.

    Attributes:
      path, name: file and branch, for messages.
      branch: the branch object of uproot.
      dtype: stored type of the numbers.
      header: bytes in front of each entry's numbers.
      length: numbers per entry if it is fixed, else None.
      offsets: int64 `[baskets + 1]`, first entry of each basket and the end.
      seeks, sizes: position of each basket in the file, and its size in bytes.
      bytes: size of all the numbers, decompressed.
    """

    path: str
    name: str
    branch: uproot.TBranch
    dtype: np.dtype
    header: int
    length: int | None
    offsets: np.ndarray
    seeks: list[int]
    sizes: list[int]
    bytes: int

    @classmethod
    def of(cls, path: str, branch: uproot.TBranch, types: Sequence[str], entries: int) -> Branch:
        """Read and check the table of a branch's baskets.

        Raises:
          SourceError: the type of the numbers is not in `types` ("wrong_type"), or the table contradicts
            itself ("corrupt").
        """
        dtype, header, length = _kind(path, branch, types)
        name, number = branch.name, branch.num_baskets
        seeks, sizes = (branch.member(f"fBasket{what}")[:number].tolist() for what in ("Seek", "Bytes"))
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
        stored = np.clip(int(branch.member("fTotBytes")), sum(sizes), 100 * sum(sizes))
        return cls(path, name, branch, dtype, header, length, offsets, seeks, sizes, int(stored))

    def holding(self, entries: np.ndarray) -> list[int]:
        """The baskets that contain any of the ascending entries."""
        return np.flatnonzero(np.diff(np.searchsorted(entries, self.offsets))).tolist()

    def range(self, number: int) -> tuple[int, int]:
        """First byte of a basket in the file, and the byte after its end."""
        return self.seeks[number], self.seeks[number] + self.sizes[number]

    def unpack(self, number: int, chunk) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of a basket's numbers, and the start of each entry, `[entries + 1]`.

        Args:
          chunk: uproot's chunk of the basket's bytes.
        """
        basket = self._decompressed(number, chunk)
        members, expected = basket.members, int(self.offsets[number + 1] - self.offsets[number])
        if members["fNbytes"] != self.sizes[number] or members["fNevBuf"] != expected:
            found = f"it has {members['fNbytes']} bytes of {members['fNevBuf']} entries"
            why = f"{found}, but {self.sizes[number]} of {expected} in the tree"
            raise corrupt(self.path, self.name, number, why)
        if self._key not in chunk.raw_data[: members["fKeylen"]].tobytes():
            raise corrupt(self.path, self.name, number, "it names another branch")
        data, starts = basket.data, basket.byte_offsets
        if self.length is not None:
            starts = np.arange(expected + 1) * (self.length * self.dtype.itemsize)
        elif starts is None and len(data) == 0:
            starts = np.zeros(expected + 1, np.int64)
        if starts is None or len(starts) != expected + 1:
            raise corrupt(self.path, self.name, number, f"it does not say where its {expected} lists start")
        return data, starts

    def join(self, entries: np.ndarray, parts: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Column:
        """Numbers of the ascending entries, from the baskets that contain them.

        Args:
          parts: number of the basket, ascending -> the result of `unpack`.
        """
        # All baskets are joined in one step, because lists and baskets are short.
        numbers = np.array(list(parts), np.int64)
        data = [np.zeros(0, np.uint8), *(data for data, _ in parts.values())]
        starts = np.concatenate([np.zeros(0, np.int64), *(starts for _, starts in parts.values())])
        rows = self.offsets[numbers + 1] - self.offsets[numbers]
        last = np.cumsum(rows + 1) - 1
        sound = (starts[last - rows] == 0) & (starts[last] == [len(part) for part in data[1:]])
        inside = np.ones(max(len(starts) - 1, 0), bool)
        inside[last[:-1]] = False
        counts = np.diff(starts)[inside]
        if not sound.all() or counts.min(initial=0) < 0:
            wrong = ~sound if not sound.all() else np.add.reduceat(counts < 0, np.cumsum(rows) - rows) > 0
            raise corrupt(self.path, self.name, int(numbers[wrong][0]), "its lists overlap, or leave gaps")
        picked = None
        if len(counts) > len(entries):
            place = np.searchsorted(self.offsets, entries, side="right") - 1
            first = np.cumsum(rows) - rows
            picked = entries - self.offsets[place] + first[np.searchsorted(numbers, place)]
        if picked is not None or self.header:
            counts, part = self._pick(np.concatenate(data), counts, picked)
            data = [part]
        size = self.dtype.itemsize
        if size > 1 and (counts % size).any():
            raise corrupt(self.path, self.name, 0, f"its lists are not of whole {self.dtype.name}")
        values = np.concatenate([part.view(self.dtype) for part in data], dtype=self.dtype.newbyteorder("="))
        return Column(counts // size, values)

    def _pick(self, data: np.ndarray, counts: np.ndarray, rows: np.ndarray | None):
        """Counts and bytes of all or some of the lists, without their headers."""
        lengths = counts - self.header
        if lengths.min(initial=0) < 0:
            why = f"entries are shorter than their {self.header} bytes of header"
            raise corrupt(self.path, self.name, 0, why)
        if rows is None and (counts == counts[:1]).all():
            return lengths, data.reshape(len(counts), -1)[:, self.header :].reshape(-1)
        begin, counts = np.cumsum(counts) - lengths, lengths
        if rows is not None:
            begin, counts = begin[rows], counts[rows]
        places = np.repeat(begin - np.cumsum(counts) + counts, counts)
        places += np.arange(len(places))
        return counts, data[places]

    def _decompressed(self, number: int, chunk) -> uproot.models.TBasket.Model_TBasket:
        cursor, file = uproot.source.cursor.Cursor(chunk.start), self.branch.file
        context = {"basket_num": number}
        return uproot.models.TBasket.Model_TBasket.read(chunk, cursor, context, file, file, self.branch)

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
    except Exception:  # a type that uproot cannot interpret is not a wanted one
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
