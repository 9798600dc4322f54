"""Reads the public images of jets: Parquet and HDF5 files of 125 x 125 pixels and 3 or 8 channels.

The quark and gluon jets (arXiv:1902.08276) are three Parquet files with one jet per row group, or one HDF5
file. The columns are `X_jets`, `pt`, `m0` and `y` (1 for a quark). The files of boosted top quarks
(arXiv:2104.14659) have the same columns; or `jet`, `pT`, `m` and `Y`; or only `jet`, in files without labels.
The axes of an image are [channel, row, column] in Parquet and [row, column, channel] in HDF5. Files are read
in pieces, so memory does not grow with their size.

Checked: columns, types and shapes; resolution and channels of all images; labels; numbers that are not finite
or out of range. An error names the file and the row group, or the row.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from e2e_jax.detector import jet_pixels
from e2e_jax.errors import SourceError
from e2e_jax.events.jets import Jets
from e2e_jax.execution.jobs import LUMI_BLOCK, SPLITS, Job
from e2e_jax.sources.root.faults import check_on_error
from e2e_jax.sources.root.rec_hits import MAX_ENERGY

NAMES = {
    "image": ("X_jets", "X_jet", "jet", "X"),
    "y": ("y", "Y"),
    "pt": ("pt", "pT"),
    "m0": ("m0", "m", "mass"),
}
"""Content of a column -> its names in the public files."""

PIECE = 500
"""Jets per job."""

TOGETHER = 20
"""Maximum rows of a Parquet file that are read together: 7.5 MB for three channels, which fits caches."""

SHARE = 5
"""Every fifth piece of a file is validation."""

SIDE = jet_pixels.SIDE


@dataclasses.dataclass(frozen=True)
class ImagesJob(Job):
    """Consecutive jets of a file.

    Attributes:
      path: the file.
      groups: for a Parquet file, the first row group and the one after the last.
      first, events: the first row, counted from 0, and the number of rows.
      channels: channels of the file's images, names of `jet_pixels.CHANNELS`, in order.
      observables: which of "pt" and "m0" are read.
      labelled: whether the labels are read.
      lumi: luminosity section of the jets, unique in a dataset.
      on_error: "fail", or "skip" to drop faulty jets.
    """

    path: str
    groups: tuple[int, int]
    first: int
    events: int
    channels: tuple[str, ...]
    observables: tuple[str, ...] = ("pt", "m0")
    labelled: bool = True
    lumi: int = 1
    on_error: str = "fail"

    @property
    def wanted(self) -> tuple[str, ...]:
        """The keys of `NAMES` that are read."""
        return ("image", *(("y",) if self.labelled else ()), *self.observables)


def files_of(folder, endings: Sequence[str]) -> list[pathlib.Path]:
    """The files of a folder with some endings, sorted by name; or the file itself.

    Raises:
      SourceError: no file is found.
    """
    folder = pathlib.Path(folder).expanduser()
    found = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    if paths := [path for path in found if path.suffix in endings and path.is_file()]:
        return paths
    held = ", ".join(path.name for path in found if path.exists())
    raise SourceError(
        str(folder),
        "missing_file",
        f"{folder} has no file that ends with {' or '.join(endings)}; it holds {held or 'nothing'}. Name the "
        "folder of the files.",
    )


def identity(paths: Iterable[pathlib.Path]) -> list:
    """Identity of files: their names and sizes."""
    return [[path.name, path.stat().st_size] for path in paths]


def file_jobs(
    paths: Iterable[pathlib.Path], like: Mapping, on_error: str = "fail", piece: int = PIECE
) -> dict[str, list[ImagesJob]]:
    """The jobs of "train" and "validation" that read all jets of the files.

    Args:
      paths: the files.
      like: fields of `ImagesJob` shared by all jobs: `channels`, `observables` and `labelled`.
      on_error: "fail" or "skip", see `read`.
      piece: approximate number of jets per job.

    Raises:
      SourceError: a file cannot be read, or a column is missing or has another type or shape.
      ValueError: `on_error` is neither.
    """
    check_on_error(on_error)
    jobs = {split: [] for split in SPLITS}
    for number, path in enumerate(paths):
        whole = ImagesJob(str(path), (0, 0), 0, 0, **like)
        for k, (groups, first, events) in enumerate(_reader(path).pieces(whole, piece)):
            split = SPLITS[k % SHARE == SHARE - 1]
            lumi = number * LUMI_BLOCK + k + 1
            jobs[split].append(
                dataclasses.replace(
                    whole, groups=groups, first=first, events=events, lumi=lumi, on_error=on_error
                )
            )
    return jobs


def read(job: ImagesJob) -> Jets:
    """Read the jets of a job. Their numbers are rows of the file; the label is -1 in a file without labels.

    Raises:
      SourceError: as `file_jobs`; these rows cannot be read; or, unless `on_error` is "skip", a jet has a
        label outside {0, 1}, or a number that is not finite or out of range.
    """
    reader, parts = _reader(job.path), []
    for first, columns in reader.rows(job):
        n = len(columns["image"])
        jets = Jets.from_images(
            columns["image"],
            [jet_pixels.CHANNELS.index(name) for name in job.channels],
            job.lumi,
            first + np.arange(n),
            _labels(columns["y"]) if job.labelled else np.full(n, -1),
            {name: columns[name] for name in job.observables},
            last=reader.LAST,
        )
        bad = _faults(jets, columns)
        wrong = np.logical_or.reduce([*bad.values()])
        if wrong.any():
            if job.on_error == "fail":
                _refuse(job, int(np.flatnonzero(wrong)[0]), first, bad, columns, reader)
            jets = jets[~wrong]
        parts.append(jets)
    return Jets.concatenate(parts)


def _labels(given: np.ndarray) -> np.ndarray:
    """Labels as integers; invalid ones become -1."""
    return np.where((given == 0) | (given == 1), given, -1).astype(np.int32)


def _faults(jets: Jets, columns: Mapping) -> dict[str, np.ndarray]:
    """Reason -> mask of the jets with this fault."""
    n = len(jets)
    finite, inside = np.ones(n, bool), np.ones(n, bool)
    for name in jets.COLLECTIONS:
        ragged = getattr(jets, name)
        wrong = np.flatnonzero(~(abs(ragged.value) <= MAX_ENERGY))
        owner = np.searchsorted(ragged.offsets, wrong, side="right") - 1
        number = np.isfinite(ragged.value[wrong])
        finite[owner[~number]], inside[owner[number]] = False, False
    for values in jets.observables.values():
        finite &= np.isfinite(values)
        inside &= ~((values < 0) | (values > MAX_ENERGY))
    unlabelled = jets.label < 0 if "y" in columns else np.zeros(n, bool)
    return {"bad_label": unlabelled, "not_finite": ~finite, "out_of_range": ~inside}


def _refuse(job: ImagesJob, row: int, first: int, bad: Mapping, columns: Mapping, reader) -> None:
    """Raise for a faulty jet: a row of a piece that begins at row `first` of the file."""
    reason = next(name for name, of in bad.items() if of[row])
    label = columns["y"][row] if job.labelled else None
    what = {
        "bad_label": f"has the label y = {label}, but labels are 0 and 1",
        "not_finite": "has a number that is not finite",
        "out_of_range": f"has a pixel beyond {MAX_ENERGY:g}, or a negative or larger pt or m0",
    }[reason]
    raise SourceError(
        job.path,
        reason,
        f"{reader.place(job, first + row)} of {job.path} {what}. Mend the file, or leave such jets out with "
        "--on_error=skip of python -m e2e_jax.build, which counts them in the metadata.",
    )


def found_columns(path, names: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """Each wanted key of `NAMES` -> the name of its column.

    Raises:
      SourceError: a column is missing.
    """
    names = list(names)
    found = {key: next((name for name in NAMES[key] if name in names), None) for key in wanted}
    for key in (key for key, name in found.items() if name is None):
        way = "Name the files of jets of this dataset."
        if key == "y":
            way = "A file without labels trains no classifier: build cms_jets/tops_unlabelled of it."
        raise SourceError(
            str(path),
            "missing_column",
            f"The file {path} has no column {' or '.join(NAMES[key])}; it holds "
            f"{', '.join(names) or 'nothing'}. {way}",
        )
    return found


def wrong_shape(path, where: str, found: Sequence, channels: Sequence[str]) -> SourceError:
    """The error for images of another resolution or number of channels."""
    other = {3: "parquet or cms_jets/hdf5", 8: "tops"}
    has = next((size for size in found if size != SIDE and size in other), None)
    way = f" Images of {has} channels are read by cms_jets/{other[has]}." if has else ""
    return SourceError(
        str(path),
        "other_shape",
        f"{where} of {path} has an image of {' x '.join(map(str, found))}, but those of this dataset have "
        f"{SIDE} x {SIDE} pixels and {len(channels)} channels ({', '.join(channels)}).{way}",
    )


def _reader(path):
    """The module that reads the format of a file."""
    if pathlib.Path(path).suffix == ".parquet":
        from e2e_jax.sources.public import jet_parquet

        return jet_parquet
    from e2e_jax.sources.public import jet_hdf5

    return jet_hdf5


def state(path) -> tuple[str, int, int]:
    """Cache key of an open file, which changes when the file is replaced.

    Raises:
      SourceError: the file does not exist.
    """
    try:
        about = os.stat(path)
    except OSError as error:
        raise SourceError(
            str(path), "missing_file", f"The file {path} cannot be read ({error.strerror})."
        ) from error
    return str(path), about.st_size, about.st_mtime_ns
