"""Reads the public crops of showers: HDF5 files of 32 x 32 images, one file per particle.

The authors of arXiv:1807.11916 published `SinglePhotonPt50_IMGCROPS_n249k_RHv1.hdf5` and a corresponding file
of electrons. They contain `X` (n, 32, 32, 2), the energy in GeV and the time in ns of each crystal, both
divided by 50, and `y` (n), 0 for a photon and 1 for an electron. A file is read in pieces, so memory does not
grow with its size.

Checked: types and shapes; that every chunk is stored in this file and can be found; labels; that energies and
times are finite and in range; that each event has a hit. HDF5 itself verifies the numbers of a chunk if the
file has a checksum (`fletcher32=True`) or compression (`compression="gzip"`, with its adler32).
Not guaranteed: h5py writes neither by default. In such a file, a damaged number that stays in range is not
detected. Damage to the file's own tables that gives other numbers in range, such as two exchanged chunks, is
not detected either.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable

import h5py
import numpy as np

from e2e_jax.detector import crops
from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.showers import Showers
from e2e_jax.execution.jobs import LUMI_BLOCK, SPLITS, Job
from e2e_jax.sources.public import hdf5
from e2e_jax.sources.root.faults import check_on_error
from e2e_jax.sources.root.rec_hits import MAX_ENERGY
from e2e_jax.study.samples import PARTICLES

SCALE = 50.0
"""GeV and ns for a pixel value of 1."""

MAX_TIME = 1000.0
"""Largest time in ns; the ten samples of a crystal's pulse span 250 ns."""

SMALLEST = 1e-20
"""Smallest nonzero pixel value; a damaged byte of a 0 gives smaller ones."""

PIECE = 1000
"""Maximum events read together: 8 MB of images."""

SHARE = 5
"""Every fifth piece of a file is validation."""

PIXELS = (crops.SIDE, crops.SIDE, 2)


@dataclasses.dataclass(frozen=True)
class CropsJob(Job):
    """Consecutive events of a file.

    Attributes:
      path: the file.
      first, events: the first event, counted from 0, and the number of events.
      lumi: luminosity section of the events, unique in a dataset.
      on_error: "fail", or "skip" to drop faulty events.
    """

    path: str
    first: int
    events: int
    lumi: int = 1
    on_error: str = "fail"


def class_files(folder) -> dict[str, pathlib.Path]:
    """The file of each class in a folder: the only file whose name contains the class, such as "Photon".

    Raises:
      SourceError: a class has no file, or several files.
    """
    folder = pathlib.Path(folder).expanduser()
    names = sorted(path for path in folder.glob("*") if path.suffix in (".hdf5", ".h5"))
    found = {name: [path for path in names if name in path.name.lower()] for name in PARTICLES}
    for name, paths in found.items():
        if len(paths) != 1:
            raise SourceError(
                str(folder),
                "missing_file",
                f"The folder {folder} holds {len(paths)} .hdf5 files with {name!r} in their name, and one is "
                f"needed; all that it holds are: {', '.join(path.name for path in names) or 'none'}. Put the "
                "file of each particle there, such as SinglePhotonPt50_IMGCROPS_n249k_RHv1.hdf5.",
            )
    return {name: paths[0] for name, paths in found.items()}


def count(path) -> int:
    """Number of events of a file; errors as `file_jobs`."""
    with _opened(path) as (images, _):
        return len(images)


def file_jobs(paths: Iterable, on_error: str = "fail", piece: int = PIECE) -> dict[str, list[CropsJob]]:
    """The jobs of "train" and "validation" that read all events of the files.

    Args:
      paths: the files.
      on_error: "fail" or "skip", see `read`.
      piece: maximum events per job.

    Raises:
      SourceError: a file is not HDF5 or is truncated, or a dataset is missing or has another shape.
      ValueError: `on_error` is neither.
    """
    check_on_error(on_error)
    jobs = {split: [] for split in SPLITS}
    for number, path in enumerate(paths):
        events = count(path)
        pieces = max(SHARE, -(-events // piece))
        for k in range(pieces):
            first, end = events * k // pieces, events * (k + 1) // pieces
            split = SPLITS[k % SHARE == SHARE - 1]
            lumi = number * LUMI_BLOCK + k + 1
            if end > first:
                jobs[split].append(CropsJob(str(path), first, end - first, lumi, on_error))
    return jobs


def read(job: CropsJob) -> Showers:
    """Read the events of a job, in the view "crop". Their numbers are rows of the file.

    Raises:
      SourceError: as `file_jobs`; these rows cannot be read; or, unless `on_error` is "skip", an event has a
        label outside {0, 1}, a pixel that is not finite or out of range, or no hit.
    """
    rows = slice(job.first, job.first + job.events)
    with _opened(job.path) as (images, labels):
        for dataset in (images, labels):
            hdf5.check_found(dataset, rows)
        pixels, label = images[rows], labels[rows].reshape(-1)
    beyond = abs(pixels) > (MAX_ENERGY / SCALE, MAX_TIME / SCALE)
    faults = {
        "bad_label": ~np.isin(label, range(len(PARTICLES))),
        "not_finite": ~np.isfinite(pixels).all(axis=(1, 2, 3)),
        "out_of_range": (beyond | (pixels != 0) & (abs(pixels) < SMALLEST)).any(axis=(1, 2, 3)),
        "empty": ~pixels[..., 0].any(axis=(1, 2)),
    }
    bad = np.logical_or.reduce(list(faults.values()))
    if bad.any():
        if job.on_error == "fail":
            _refuse(job, label, faults)
        pixels, label = pixels[~bad], label[~bad]
    number = job.first + np.flatnonzero(~bad)
    return _showers(pixels.reshape(len(pixels), -1, 2), label, number, job.lumi)


def _showers(pixels: np.ndarray, label: np.ndarray, number: np.ndarray, lumi: int) -> Showers:
    """Hits of images `[n, 1024, 2]`: the pixels with an energy."""
    n = len(pixels)
    event, cell = np.nonzero(pixels[..., 0])
    values = np.float32(SCALE) * pixels[event, cell].astype(np.float32)
    columns = {"cell": cell.astype(np.uint16), "energy": values[:, 0].copy(), "time": values[:, 1].copy()}
    nothing = {"cell": np.zeros(0, np.uint16), "samples": np.zeros((0, crops.SAMPLES), np.uint16)}
    return Showers(
        run=np.ones(n, np.int64),
        lumi=np.full(n, lumi, np.int64),
        event=number.astype(np.int64),
        label=label.astype(np.int32),
        particles=np.zeros((n, 2, 3), np.float32),
        crystals=Ragged.from_counts(np.bincount(event, minlength=n), columns),
        digis=Ragged.from_counts(np.zeros(n, np.int64), nothing),
    )


def _refuse(job: CropsJob, label: np.ndarray, faults: dict[str, np.ndarray]) -> None:
    """Raise for the first faulty event."""
    row = min(int(np.flatnonzero(bad)[0]) for bad in faults.values() if bad.any())
    reason = next(name for name, bad in faults.items() if bad[row])
    what = {
        "bad_label": f"has the label y = {label[row]}, but 0 (photon) and 1 (electron) are all there are",
        "not_finite": "has a pixel of X that is not finite",
        "out_of_range": "has a pixel of X that no crystal measures: beyond "
        f"{MAX_ENERGY:g} GeV or {MAX_TIME:g} ns, or smaller than {SMALLEST:g} and not 0",
        "empty": "has no hit: all its energies are 0",
    }[reason]
    raise SourceError(
        job.path,
        reason,
        f"Event {job.first + row} of {job.path} {what}. Mend the file, or leave such events out with "
        "--on_error=skip of python -m e2e_jax.build, which counts them in the metadata.",
    )


def _opened(path):
    """Open the checked datasets X and y of a file, see `hdf5.opened`."""
    return hdf5.opened(path, _checked)


def _checked(path, file) -> tuple:
    missing = [name for name in ("X", "y") if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        raise SourceError(
            str(path),
            "missing_dataset",
            f"The file {path} has no dataset {' and '.join(map(repr, missing))}; it holds "
            f"{', '.join(sorted(file)) or 'nothing'}. A file of crops holds the images X and the labels y.",
        )
    images, labels = file["X"], file["y"]
    numbers = all(of.dtype.kind in "fiu" for of in (images, labels))
    if not numbers or images.shape[1:] != PIXELS or labels.shape not in ((len(images),), (len(images), 1)):
        raise SourceError(
            str(path),
            "other_shape",
            f"The file {path} has X {images.dtype}{list(images.shape)} and y {labels.dtype}"
            f"{list(labels.shape)}, but crops are numbers X [n, {', '.join(map(str, PIXELS))}] and y [n]: "
            "energy / 50 GeV and time / 50 ns of each crystal, and the label of each event.",
        )
    hdf5.check_storage(path, file, ("X", "y"))
    return images, labels
