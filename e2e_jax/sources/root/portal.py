"""The CERN Open Data portal: the two addresses of each of its files, and its files on tape.

The portal serves a file as root://eospublic.cern.ch//eos/opendata/..., and over https, by its own host, as
https://opendata.cern.ch/eos/opendata/... The first host also speaks https, but with a certificate of CERN's
own authority, and it redirects to port 8443 of others.

Since 2025 parts of the data are on tape only. The portal then deletes the copy on disk
(cernopendata-portal, cold_storage/storage.py), so that both servers report that there is no such file. A
request on the page of its record brings it back.
"""

from __future__ import annotations

import re

from e2e_jax.errors import SourceError

PROTOCOLS = ("root", "https")

_FILE = re.compile(r"(?:roots?|https?)://(?:eospublic|opendata)\.cern\.ch(?::\d+)?/+(eos/opendata/.*)")
_SERVERS = {"root": "root://eospublic.cern.ch//", "https": "https://opendata.cern.ch/"}


def holds(path: str) -> bool:
    """Whether a path is the address of a file of the portal."""
    return _FILE.fullmatch(path) is not None


def address(path: str, protocol: str) -> str:
    """The address of a file of the portal in a protocol; other paths, and any with protocol "", as they are.

    Args:
      protocol: one of `PROTOCOLS`, or "".
    """
    file = _FILE.fullmatch(path)
    return _SERVERS[protocol] + file[1] if protocol and file else path


def check_protocol(protocol: str) -> None:
    """Raises a ValueError if there is no such protocol."""
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}; it can be {' or '.join(map(repr, PROTOCOLS))}.")


def record_page(record: int) -> str:
    """The page of a record, where files on tape are requested."""
    return f"https://opendata.cern.ch/record/{record}"


def absent(path: str, words: str) -> SourceError:
    """The error of a file that its server does not have.

    Args:
      words: what the server reports.
    """
    if holds(path):
        return offline(path, words)
    return SourceError(
        path,
        "vanished",
        f"There is no file {path}: {words}. Check the address, or take the file off the list.",
    )


def offline(path: str, words: str) -> SourceError:
    """The error of a file that is on tape only."""
    return SourceError(
        path,
        "offline",
        f"{path} is not on the disks of its server now: {words}. The CERN Open Data portal keeps some of "
        "its data on tape. Request the files on the page of their record, and start again when they are "
        "online; python -m e2e_jax.build NAME --check lists them, with the address of the page.",
    )
