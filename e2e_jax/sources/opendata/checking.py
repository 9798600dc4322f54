"""Checks all listed files before a build: whether they are online and match their lists."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence

import tqdm

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import file_contents, portal, remote
from e2e_jax.sources.root.file_contents import Content
from e2e_jax.sources.root.reading import Reading

WORKERS = 16
"""Files checked at the same time; most of the time is spent waiting for the server."""

SHOWN = 10
"""Maximum files per status that the report names."""

ONLINE, OTHER = "online", "unreadable"
STATUSES = {
    "offline": "offline",
    "vanished": "missing",
    "size_mismatch": "wrong size",
    "checksum_mismatch": "wrong checksum",
    "network": "no answer",
}
"""Reason of a `SourceError` -> status of the file; `OTHER` for any other reason."""

BAD = (*STATUSES.values(), OTHER)


@dataclasses.dataclass(frozen=True)
class Seen:
    """Result for one file: its status, its size in bytes (0 if unknown), and the error."""

    file: str
    status: str
    size: int = 0
    error: SourceError | None = None


def look(file: str, content: Content, reading: Reading, checksums: bool = False) -> Seen:
    """Check one file.

    Args:
      file: path or address from the list.
      content: size and checksum from its list.
      reading: options for reading it.
      checksums: also compare the checksum, which reads the whole file.
    """
    address, waits = portal.address(file, reading.protocol), (reading.timeout, reading.retries)
    size = 0
    try:
        size = remote.size(address, *waits)
        file_contents.check(address, size, content, remote.blocks(address, *waits) if checksums else None)
    except SourceError as error:
        return Seen(file, STATUSES.get(error.reason, OTHER), size, error)
    return Seen(file, ONLINE, size)


def look_at_all(
    files: Mapping[str, Mapping[str, Content]],
    reading: Reading,
    checksums: bool = False,
    progress: bool = False,
) -> dict[str, list[Seen]]:
    """Check the files of every label, in order; arguments as in `look`.

    Raises:
      SourceError: the server answers for none of the first files, which is a problem of the network.
    """
    seen, answered = {name: [] for name in files}, False
    total = sum(map(len, files.values()))
    executor = concurrent.futures.ThreadPoolExecutor(WORKERS)
    try:
        jobs = [
            (name, executor.submit(look, file, content, reading, checksums))
            for name, listed in files.items()
            for file, content in listed.items()
        ]
        for number, (name, job) in enumerate(tqdm.tqdm(jobs, "files", total, disable=not progress), 1):
            one = job.result()
            answered |= one.error is None or one.error.reason != "network"
            if not answered and number >= min(WORKERS, total):
                raise one.error
            seen[name].append(one)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return seen


def report(seen: Mapping[str, Sequence[Seen]], pages: Mapping[str, str]) -> str:
    """A table of the files of each label by status, the unreadable files, and where to request them.

    Args:
      seen: label -> results of its files.
      pages: label -> the page of its record.
    """
    counts = {name: collections.Counter(one.status for one in files) for name, files in seen.items()}
    total = sum(counts.values(), collections.Counter())
    columns = [ONLINE, *(status for status in BAD if total[status] or status in ("offline", "missing"))]
    widths = {column: len(column) + 3 for column in columns}
    lines = ["{:<12}{:>7}{:>10}".format("label", "files", "size")]
    lines[0] += "".join(f"{column:>{width}}" for column, width in widths.items())
    for name, files in seen.items():
        size = sum(one.size for one in files) / 1e9
        numbers = "".join(f"{counts[name][column]:>{width}}" for column, width in widths.items())
        lines.append(f"{name:<12}{len(files):>7}{size:>7.1f} GB{numbers}")
    for status in columns[1:]:
        bad = [one for files in seen.values() for one in files if one.status == status]
        lines += [f"{status}: {one.file if status == 'offline' else one.error}" for one in bad[:SHOWN]]
        if len(bad) > SHOWN:
            lines.append(f"{status}: {len(bad) - SHOWN} more")
    lines += [
        f"{name}: request the files that are offline at {pages[name]}"
        for name in seen
        if counts[name]["offline"] and name in pages
    ]
    return "\n".join(lines)
