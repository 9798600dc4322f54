"""The paper's three samples on the CERN Open Data portal, and the lists of their files.

A sample has hundreds of AODSIM files. The portal publishes their addresses in index files, as JSON with sizes
and checksums and as text with one line per file. A folder with copies of the index files, or with your own
lists, can be used instead. Your own lists may state sizes and checksums too (`file_contents`).
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import file_contents, portal, remote
from e2e_jax.sources.root.file_contents import UNKNOWN, Content
from e2e_jax.sources.root.root_files import expand

_STORE = "root://eospublic.cern.ch//eos/opendata/cms/MonteCarlo2012/Summer12_DR53X"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A simulated sample of the CERN Open Data portal (opendata.cern.ch/record/<record>).

    Attributes:
      record: number of its record.
      doi: its digital object identifier.
      dataset: the generator's part of its name.
      processing: the reconstruction's part of its name.
      parts: suffixes of its index files.
      events, files: their numbers in the record.
    """

    record: int
    doi: str
    dataset: str
    processing: str
    parts: tuple[str, ...]
    events: int
    files: int

    @property
    def indexes(self) -> tuple[str, ...]:
        """Addresses of the published index files in text form; each has a JSON form next to it."""
        folder = f"{_STORE}/{self.dataset}/AODSIM/{self.processing}/file-indexes"
        stem = f"CMS_MonteCarlo2012_Summer12_DR53X_{self.dataset}_AODSIM_{self.processing}"
        return tuple(f"{folder}/{stem}_{part}_file_index.txt" for part in self.parts)


SAMPLES: dict[str, Sample] = {
    "gamma_gamma": Sample(
        record=7687,
        doi="10.7483/OPENDATA.CMS.WV7J.8GN0",
        dataset="DiPhotonBorn_Pt-25To250_8TeV_ext-pythia6",
        processing="PU_RD1_START53_V7N-v2",
        parts=("10000",),
        events=1_000_000,
        files=103,
    ),
    "h": Sample(
        record=7783,
        doi="10.7483/OPENDATA.CMS.WQ7P.BZP3",
        dataset="GluGluHToGG_M-125_8TeV-pythia6",
        processing="PU_RD1_START53_V7N-v2",
        parts=("00000", "10000", "20000"),
        events=4_999_765,
        files=490,
    ),
    "gamma_jet": Sample(
        record=7778,
        doi="10.7483/OPENDATA.CMS.2W51.W8AT",
        dataset="GJet_Pt40_doubleEMEnriched_TuneZ2star_8TeV_ext-pythia6",
        processing="PU_RD1_START53_V7N-v1",
        parts=("20000", "20001"),
        events=17_748_810,
        files=1_548,
    ),
}
"""Label -> the sample used by the paper."""


def files_of_labels(
    labels: Sequence[str], lists: str | os.PathLike | None = None, protocol: str = ""
) -> dict[str, dict[str, Content]]:
    """The files of each label, in the order of its list.

    Args:
      labels: names of the labels; those without a list of yours must be in `SAMPLES`.
      lists: folder with `<label>.txt` (one path, glob or remote address per line; paths are relative to the
        folder), or with copies of the published index files, as .json with sizes and checksums, or as .txt.
        None reads the index files from the portal.
      protocol: how published index files are read, see `Reading`.

    Returns:
      label -> file -> size and checksum from its list.

    Raises:
      SourceError: a list is missing, unreadable or empty, contains a file twice, or a file has two labels.
    """
    return distinct({label: _listed(label, lists, protocol) for label in labels})


def expanded(paths: Sequence[str]) -> dict[str, Content]:
    """The files of paths, patterns, addresses and .txt lists of these, in order.

    Returns:
      file -> size and checksum from its list.

    Raises:
      SourceError: a list is absent, unreadable or empty, a pattern matches no file, or a file is listed
        twice.
    """
    entries = []
    for path in paths:
        named, folder = [(path, UNKNOWN)], pathlib.Path()
        if path.endswith(".txt"):
            own = pathlib.Path(path).expanduser()
            named, folder = _entries(_read(own), own), own.parent
        entries += [(_from(folder, file), content) for file, content in named]
    where = ", ".join(paths)
    return _expanded(where, _distinct({where: entries}))


def distinct(files: dict[str, dict[str, Content]]) -> dict[str, dict[str, Content]]:
    """The files of each label, after checking that no file has two labels.

    Raises:
      SourceError: a file has two labels.
    """
    owner = {}
    for name, paths in files.items():
        for path in paths:
            other = owner.setdefault(_place(path), name)
            if other != name:
                raise SourceError(
                    path,
                    "duplicate",
                    f"{path} is listed for {other} and for {name}: an event has one label. Take one off.",
                )
    return files


def identity(files: Mapping[str, Iterable[str]]) -> dict:
    """The identity of lists: the number of files by label, and a digest of their names in order."""
    text = "".join(f"{name}\t{path}\n" for name, paths in files.items() for path in paths)
    numbers = {name: len(list(paths)) for name, paths in files.items()}
    return {"files": numbers, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _listed(label: str, lists: str | os.PathLike | None, protocol: str) -> dict[str, Content]:
    """The files of a label in order, with sizes and checksums from their list."""
    indexes = SAMPLES[label].indexes if label in SAMPLES else ()
    if lists is None:
        if not indexes:
            raise SourceError("", "missing_list", f"The portal has no sample {label}; write its list.")
        return _distinct({url: _published(url, protocol) for url in indexes})

    folder = pathlib.Path(lists).expanduser()
    own = folder / f"{label}.txt"
    if own.exists():
        entries = [(_from(folder, path), content) for path, content in _entries(_read(own), own)]
        return _expanded(own, _distinct({str(own): entries}))
    copies = [_copy(folder / url.rpartition("/")[2]) for url in indexes]
    absent = [path.name for path in copies if not path.exists()]
    if absent or not copies:
        lacks = f", and of the published index files it lacks {', '.join(absent)}" if absent else ""
        copy = ", or copy all index files of the sample there" if absent else ""
        raise SourceError(
            str(folder),
            "missing_list",
            f"{folder} does not list the files of {label}: it has no {own.name}{lacks}. Write {own.name}, "
            f"with one path or remote address per line{copy}.",
        )
    return _distinct({str(path): _entries(_read(path), path) for path in copies})


def _copy(path: pathlib.Path) -> pathlib.Path:
    """The copy of an index file: JSON if it exists, otherwise text."""
    other = path.with_suffix(".json")
    return other if other.exists() else path


def _published(url: str, protocol: str) -> list[tuple[str, Content]]:
    """The entries of a published index file: of JSON if it exists, otherwise of text."""
    address = portal.address(url, protocol)
    for where in (address.removesuffix(".txt") + ".json", address):
        try:
            return _entries(remote.read_text(where), where)
        except SourceError as error:
            last = error
            if error.reason not in ("vanished", "offline"):
                break
    way = "Or copy the portal's index files into a folder and give it as --files=DIR."
    raise SourceError(last.path, last.reason, f"{last} {way}") from last


def _entries(text: str, where: str | os.PathLike) -> list[tuple[str, Content]]:
    """The entries of a list."""
    if not os.fspath(where).endswith(".json"):
        return [file_contents.split(line) for line in _lines(text, where)]
    try:
        index = json.loads(text)
        # On the page of a record, the list is a field of an object.
        entries = index["files"] if isinstance(index, dict) else index
        if not isinstance(entries, list) or not entries:
            raise ValueError("it has none")
        return [file_contents.of_index(entry) for entry in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            str(where),
            "unreadable",
            f"{where} is no file index of the portal: a list of entries with uri, size and checksum "
            f"({type(error).__name__}: {error}). Copy it again.",
        ) from error


def _expanded(own: str | os.PathLike, listed: dict[str, Content]) -> dict[str, Content]:
    """The files of a list whose entries may be patterns."""
    files = expand(list(listed))
    for path, content in listed.items():
        if content and path not in files:
            raise SourceError(
                str(own),
                "bad_list",
                f"The file list {own} states a size or checksum for {path}, which is a pattern that matches "
                "several files. List the files one by one.",
            )
    return {file: listed.get(file, UNKNOWN) for file in files}


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            str(path),
            "unreadable",
            f"The file list {path} cannot be read as text ({error}). It must have one path or address per "
            "line.",
        ) from error


def _lines(text: str, where: str | os.PathLike) -> list[str]:
    """The entries of a list: no blank lines, no comments."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise SourceError(
            str(where),
            "empty",
            f"The file list {where} lists no file. Write one path or remote address per line.",
        )
    return lines


def _from(folder: pathlib.Path, line: str) -> str:
    return line if "://" in line else os.path.join(glob.escape(folder), os.path.expanduser(line))


def _distinct(lists: Mapping[str, list[tuple[str, Content]]]) -> dict[str, Content]:
    """The entries of some lists in order, after checking that none is listed twice."""
    seen = {}
    for where, entries in lists.items():
        for line, _ in entries:
            if (place := _place(line)) in seen:
                both = " and ".join(dict.fromkeys((seen[place], where)))
                raise SourceError(
                    line,
                    "duplicate",
                    f"{line} is listed twice, in {both}: its events would count double. Take one out.",
                )
            seen[place] = where
    return dict(entry for entries in lists.values() for entry in entries)


def _place(path: str) -> str:
    """A file's name for comparison: the real path of local files, addresses without repeated slashes."""
    if "://" not in path:
        return os.path.realpath(path)
    scheme, _, rest = path.partition("://")
    return f"{scheme}://" + "/".join(part for part in rest.split("/") if part)
