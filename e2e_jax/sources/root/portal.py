"""The CERN Open Data portal: the two addresses of each file, and files on tape.

The portal serves a file as root://eospublic.cern.ch//eos/opendata/..., and from its own host as
https://opendata.cern.ch/eos/opendata/... The first host also supports https, but with a certificate of CERN's
own authority, and it redirects to port 8443 of other hosts.

Since 2025 parts of the data are on tape only. The portal deletes the copy on disk of such a file
(cernopendata-portal, cold_storage/storage.py), so both servers report that the file does not exist. A request
on the page of its record restores it.
"""

from __future__ import annotations

import re

from e2e_jax.errors import SourceError

PROTOCOLS = ("root", "https")

_FILE = re.compile(r"(?:roots?|https?)://(?:eospublic|opendata)\.cern\.ch(?::\d+)?/+(eos/opendata/.*)")
_SERVERS = {"root": "root://eospublic.cern.ch//", "https": "https://opendata.cern.ch/"}


def holds(path: str) -> bool:
    """Whether a path is the address of a file on the portal."""
    return _FILE.fullmatch(path) is not None


def address(path: str, protocol: str) -> str:
    """Address of a portal file in a protocol; other paths, and all paths with protocol "", do not change.

    Args:
      protocol: one of `PROTOCOLS`, or "".
    """
    file = _FILE.fullmatch(path)
    return _SERVERS[protocol] + file[1] if protocol and file else path


def check_protocol(protocol: str) -> None:
    """Raise a ValueError if the protocol is unknown."""
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}; it can be {' or '.join(map(repr, PROTOCOLS))}.")


def record_page(record: int) -> str:
    """Address of the page of a record, where files on tape can be requested."""
    return f"https://opendata.cern.ch/record/{record}"


def absent(path: str, words: str) -> SourceError:
    """The error for a file that does not exist on its server.

    Args:
      words: the server's message.
    """
    if holds(path):
        return offline(path, words)
    return SourceError(
        path,
        "vanished",
        f"There is no file {path}: {words}. Check the address, or take the file off the list.",
    )


def offline(path: str, words: str) -> SourceError:
    """The error for a file that is on tape only."""
    return SourceError(
        path,
        "offline",
        f"{path} is not on the disks of its server now: {words}. The CERN Open Data portal keeps some of "
        "its data on tape. Request the files on the page of their record, and start again when they are "
        "online; python -m e2e_jax.build NAME --check lists them, with the address of the page.",
    )
