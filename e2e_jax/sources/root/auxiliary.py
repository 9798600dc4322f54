"""Decodes run, luminosity section and event number from the bytes of CMS's EventAuxiliary.

The branch is not split into leaves, and uproot cannot read its class. An entry begins with two blocks. Each
block is a big-endian 4-byte count with bit 30 set, a 2-byte version, and the rest of `count` bytes. The first
block contains the hash of the process history. The second contains the EventID: run, luminosity section and
event as unsigned 4-byte numbers. If a version is not positive, a 4-byte checksum follows it (ROOT's
TBufferFile and CMSSW's DataFormats/Provenance).
"""

from __future__ import annotations

import numpy as np

from e2e_jax.sources.root.baskets import Column

_FLAG = 0x40000000
_EVENT_ID = 12
"""Bytes of the numbers of an EventID."""


def addresses(entries: Column) -> tuple[np.ndarray, np.ndarray]:
    """Decode the entries of the branch.

    Args:
      entries: the bytes of each entry, uint8.

    Returns:
      int64 `[n, 3]`, run, luminosity section and event; and bool `[n]`, true for sound entries: the blocks
      are as described, and no number is 0.
    """
    end = np.cumsum(entries.counts)
    start = end - entries.counts
    history = _number(entries.values, start, 4)
    sound = (history & 0xC0000000) == _FLAG
    block = start + 4 + (history & ~_FLAG)
    # If the first block is invalid, the second cannot be found; the position of the first is used instead.
    sound &= block + 6 + _EVENT_ID <= end
    block = np.where(sound, block, start)
    header = _number(entries.values, block, 4)
    version = _number(entries.values, block + 4, 2)
    checksum = np.where((version == 0) | (version >= 0x8000), 4, 0)
    first = block + 6 + checksum
    sound &= (header == _FLAG | 2 + _EVENT_ID + checksum) & (first + _EVENT_ID <= end)
    numbers = np.stack([_number(entries.values, first + 4 * i, 4) for i in range(3)], axis=-1)
    return numbers, sound & (numbers > 0).all(axis=1)


def _number(values: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
    """Big-endian unsigned numbers at some positions, clipped to the end."""
    out = np.zeros(len(at), np.int64)
    for i in range(size if len(values) else 0):
        out = out << 8 | values[np.clip(at + i, 0, len(values) - 1)]
    return out
