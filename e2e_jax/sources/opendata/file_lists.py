"""The paper's three samples on the CERN Open Data portal, and where their files are listed.

A sample is some hundreds of AODSIM files. The portal publishes their addresses as index files, one
text line a file; a folder with copies of those, or with lists of one's own, serves as well. Lists may state
the size and the checksum of each file (`file_contents`).
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from e2e_jax.errors import SourceError
from e2e_jax.sources.root import file_contents, remote
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
      parts: what tells its index files apart.
      events, files: what the record holds.
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
        """Addresses of the published index files."""
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
"""Label -> the sample the paper takes its events from."""


def sample_files(label: str, lists: str | os.PathLike | None = None) -> list[str]:
    """The files of a label, in the order of its list: the paper takes "the first" events of a sample.

    Args:
      label: the label, one of `SAMPLES` where there is no list of one's own.
      lists: folder with `<label>.txt` (a path, glob or `root://` address a line; paths are relative to
        the folder), or with copies of the published index files, as .txt or as .json, which states sizes
        and checksums. None reads those where they are published, which needs the packages of the extra
        `xrootd`.

    Raises:
      SourceError: the list is absent, unreadable, empty, or names a file twice.
    """
    return list(_listed(label, lists))


def listed_contents(labels: Sequence[str], lists: str | os.PathLike | None = None) -> dict[str, Content]:
    """The content that each file of the labels should have, of the files whose list states it.

    Args, Raises: as in `sample_files`. The published text files state nothing.
    """
    listed = {} if lists is None else {k: v for name in labels for k, v in _listed(name, lists).items()}
    return {path: content for path, content in listed.items() if content}


def _listed(label: str, lists: str | os.PathLike | None) -> dict[str, Content]:
    """The files of a label in order, and what their list states about their content."""
    indexes = SAMPLES[label].indexes if label in SAMPLES else ()
    if lists is None:
        return _distinct({url: _entries(_lines(_published(url), url)) for url in indexes})

    folder = pathlib.Path(lists).expanduser()
    own = folder / f"{label}.txt"
    if own.exists():
        entries = [(_from(folder, path), content) for path, content in _entries(_lines(_read(own), own))]
        return _expanded(own, _distinct({str(own): entries}))
    copies = [_copy(folder / url.rpartition("/")[2]) for url in indexes]
    absent = [path.name for path in copies if not path.exists()]
    if absent or not copies:
        lacks = f", and of the published index files it lacks {', '.join(absent)}" if absent else ""
        copy = ", or copy all index files of the sample there" if absent else ""
        raise SourceError(
            str(folder),
            "missing_list",
            f"{folder} does not list the files of {label}: it has no {own.name}{lacks}. Write {own.name}, a "
            f"path or root:// address per line{copy}.",
        )
    return _distinct({str(path): _index(path) for path in copies})


def _copy(path: pathlib.Path) -> pathlib.Path:
    """The copy of an index file: the text, or else the JSON."""
    other = path.with_suffix(".json")
    return other if other.exists() and not path.exists() else path


def _index(path: pathlib.Path) -> list[tuple[str, Content]]:
    """The entries of an index file."""
    if path.suffix != ".json":
        return _entries(_lines(_read(path), path))
    try:
        if not isinstance(entries := json.loads(_read(path)), list) or not entries:
            raise ValueError("it has none")
        return [file_contents.of_index(entry) for entry in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            str(path),
            "unreadable",
            f"{path} is no file index of the portal: a list of entries with uri, size and checksum "
            f"({type(error).__name__}: {error}). Copy it again.",
        ) from error


def _entries(lines: list[str]) -> list[tuple[str, Content]]:
    return [file_contents.split(line) for line in lines]


def _expanded(own: pathlib.Path, listed: dict[str, Content]) -> dict[str, Content]:
    """The files of a list whose entries may be patterns."""
    files = expand(list(listed))
    for path, content in listed.items():
        if content and path not in files:
            raise SourceError(
                str(own),
                "bad_list",
                f"The file list {own} states a size or checksum for {path}, which is a pattern "
                "and stands for several files. List these one by one.",
            )
    return {file: listed.get(file, UNKNOWN) for file in files}


def files_of_labels(labels: Sequence[str], lists: str | os.PathLike | None = None) -> dict[str, list[str]]:
    """`sample_files` of every label.

    Raises:
      SourceError: as there; also where one file is listed for two labels.
    """
    return distinct({label: sample_files(label, lists) for label in labels})


def expanded(paths: Sequence[str]) -> list[str]:
    """The files that paths, patterns, addresses and .txt lists of these name, in order.

    Raises:
      SourceError: a list is absent, unreadable or empty, or a pattern matches no file.
    """
    files = []
    for path in paths:
        lines, folder = [path], pathlib.Path()
        if path.endswith(".txt"):
            lines, folder = _lines(_read(pathlib.Path(path).expanduser()), path), pathlib.Path(path).parent
        files += expand([_from(folder, line) for line in lines])
    return files


def distinct(files: dict[str, list[str]]) -> dict[str, list[str]]:
    """The files of each label, after checking that no file has two labels.

    Raises:
      SourceError: one has.
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


def identity(files: Mapping[str, Sequence[str]]) -> dict:
    """What tells lists apart: the number of files by label, and a digest of their names in order."""
    text = "".join(f"{name}\t{path}\n" for name in files for path in files[name])
    numbers = {name: len(paths) for name, paths in files.items()}
    return {"files": numbers, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _published(url: str) -> str:
    try:
        return remote.read_text(url)
    except SourceError as error:
        way = "A folder with copies of the portal's file indexes serves as well: name it as lists=DIR."
        raise SourceError(error.path, error.reason, f"{error} {way}") from error


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            str(path),
            "unreadable",
            f"The file list {path} cannot be read as text ({error}). It has a path or address a line.",
        ) from error


def _lines(text: str, where: str | os.PathLike) -> list[str]:
    """The entries of a list: no blank lines, no comments."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise SourceError(
            str(where),
            "empty",
            f"The file list {where} names no file. Write a path or root:// address a line.",
        )
    return lines


def _from(folder: pathlib.Path, line: str) -> str:
    return line if "://" in line else os.path.join(glob.escape(folder), os.path.expanduser(line))


def _distinct(lists: Mapping[str, list[tuple[str, Content]]]) -> dict[str, Content]:
    """The entries of some lists in order, after checking that none comes twice."""
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
    """A file's name for comparison: local ones without detours, addresses without doubled slashes."""
    if "://" not in path:
        return os.path.realpath(path)
    scheme, _, rest = path.partition("://")
    return f"{scheme}://" + "/".join(part for part in rest.split("/") if part)
