"""Size and checksum of a file, as stated in a list of files.

The CERN Open Data portal publishes both in `<sample>_file_index.json`. A user's list may state either or both
after a path: `path size:3523917 adler32:ae5ac4a2`.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import zlib
from collections.abc import Iterable

from e2e_jax.errors import SourceError

_STATED = re.compile(
    r"(?P<path>.*?\S)(?:\s+size:(?P<size>\d+))?(?:\s+adler32:(?P<adler32>[0-9a-fA-F]{1,8}))?"
)


@dataclasses.dataclass(frozen=True)
class Content:
    """Expected content of a file.

    Attributes:
      size: bytes, or None if not stated.
      adler32: checksum of the whole file (zlib's adler32), or None if not stated.
    """

    size: int | None = None
    adler32: int | None = None

    def __bool__(self) -> bool:
        return self.size is not None or self.adler32 is not None


UNKNOWN = Content()
"""For a file without a stated content."""


def split(line: str) -> tuple[str, Content]:
    """The path of a line of a list, and the content that the line states."""
    path, size, adler32 = _STATED.fullmatch(line).group("path", "size", "adler32")
    return path, Content(size and int(size), adler32 and int(adler32, 16))


def of_index(entry: dict) -> tuple[str, Content]:
    """Parse an entry of `file_index.json`: {"uri": ..., "size": ..., "checksum": "adler32:..."}.

    Raises:
      KeyError, TypeError, ValueError: the entry has another form.
    """
    kind, _, digits = entry["checksum"].partition(":")
    return entry["uri"], Content(int(entry["size"]), int(digits, 16) if kind == "adler32" else None)


def check(path: str, size: int, content: Content, blocks: Iterable[bytes] | None = None) -> None:
    """Compare a file with its stated content.

    Args:
      path: the file.
      size: its size in bytes.
      content: its expected content.
      blocks: its bytes in order, used only if a checksum is stated.

    Raises:
      SourceError: the size ("size_mismatch") or the checksum ("checksum_mismatch") differs.
    """
    if content.size not in (None, size):
        raise SourceError(
            path,
            "size_mismatch",
            f"{path} has {size:,} bytes, but its list states {content.size:,}. Fetch it again.",
        )
    if content.adler32 is None or blocks is None:
        return
    found = functools.reduce(lambda checksum, block: zlib.adler32(block, checksum), blocks, 1)
    if found != content.adler32:
        raise SourceError(
            path,
            "checksum_mismatch",
            f"{path} has the checksum adler32:{found:08x}, but its list states "
            f"adler32:{content.adler32:08x}. Fetch it again.",
        )
