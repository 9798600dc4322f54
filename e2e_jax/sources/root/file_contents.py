"""What a list of files states about the content of a file: its size and its checksum.

The CERN Open Data portal publishes both, in `<sample>_file_index.json`. Lists of one's own may state them
behind a path, either or both: `path size:3523917 adler32:ae5ac4a2`.
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
    """The content that a file should have.

    Attributes:
      size: bytes, or None where it is not stated.
      adler32: checksum of the whole file (zlib's adler32), or None where it is not stated.
    """

    size: int | None = None
    adler32: int | None = None

    def __bool__(self) -> bool:
        return self.size is not None or self.adler32 is not None


UNKNOWN = Content()
"""Of a file of which nothing is stated."""


def split(line: str) -> tuple[str, Content]:
    """The path of a line of a list, and what the line states about the content."""
    path, size, adler32 = _STATED.fullmatch(line).group("path", "size", "adler32")
    return path, Content(size and int(size), adler32 and int(adler32, 16))


def of_index(entry: dict) -> tuple[str, Content]:
    """The same of an entry of a `file_index.json`: {"uri": ..., "size": ..., "checksum": "adler32:..."}.

    Raises:
      KeyError, TypeError, ValueError: the entry is something else.
    """
    kind, _, digits = entry["checksum"].partition(":")
    return entry["uri"], Content(int(entry["size"]), int(digits, 16) if kind == "adler32" else None)


def check(path: str, size: int, content: Content, blocks: Iterable[bytes] | None = None) -> None:
    """Compares a file with its stated content.

    Args:
      path: the file.
      size: its size in bytes.
      content: what it should have.
      blocks: its bytes in order, to compare the checksum too; they are used only if one is stated.

    Raises:
      SourceError: it has another size ("size_mismatch") or checksum ("checksum_mismatch").
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
