"""Damages files at random and counts the readers' outcomes.

    python benchmarks/mutations.py [--mutations=2000] [--seed=0] [NAME ...]

An outcome is
- correct: the content that was written;
- told: an error of the reader's own kind, which names the file or folder;
- silent: other content and no error;
- crashed: any other error, a signal, or no end within `SECONDS`.

Each read runs in a separate process, so that a crash is an outcome. Another format is one more entry of
`TARGETS`: a function that writes a sound file, and a function that reads it into arrays. The folders of a
checkpoint and of a dataset are damaged by `folder_mutations.py`.

Measured, 2,000 mutations each (uproot 5, h5py 3.14 with HDF5 1.14.6; 13 to 32 reads a second of a shared
core); the first five rows with `--seed=14`, the others with `--seed=0`:

| damaged | correct | told | silent | crashed |
|---|---|---|---|---|
| root (every basket compressed) | 768 | 1232 | 0 | 0 |
| root-uncompressed-checksum (stated by the list) | 65 | 1935 | 0 | 0 |
| hdf5 (no checksum, as h5py writes by default) | 518 | 1249 | 233 | 0 |
| hdf5-gzip | 509 | 1491 | 0 | 0 |
| hdf5-fletcher32 | 442 | 1558 | 0 | 0 |
| root-some-uncompressed (the photons) | 751 | 1249 | 0 | 0 |
| root-uncompressed | 800 | 941 | 259 | 0 |
| kept-npz | 111 | 1889 | 0 | 0 |
| pileup-pool | 44 | 1956 | 0 | 0 |

Remaining silent cases: numbers without a checksum that stay in range (root-uncompressed, hdf5). Found by this
script and fixed: HDF5 chunk tables that pointed to other chunks; keys of the HDF5 tree that hid a chunk,
which HDF5 then reads as zeros (hdf5-gzip: 3 silent before); and damaged zeros that became tiny energies
(hdf5: 633 silent before).

The rows root-some-uncompressed and pileup-pool were measured before the checks for ascending ids and tiny
pixels were added; these checks only reject more.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Mapping

import h5py
import numpy as np
import uproot

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from e2e_jax.errors import SourceError
from e2e_jax.events.base import Ragged
from e2e_jax.events.diphotons import from_leading, leading
from e2e_jax.events.showers import Showers
from e2e_jax.execution import keeping
from e2e_jax.files import npz
from e2e_jax.sources.opendata import skim
from e2e_jax.sources.public import shower_files
from e2e_jax.sources.root import aodsim
from e2e_jax.sources.root.file_contents import Content
from e2e_jax.sources.simulation import pileup, pool_files
from e2e_jax.studies import hgg
from tests.aodsim_file import random_events, write_aodsim

SECONDS = 60
"""After which a read counts as crashed."""

MEMORY = 8 * 2**30
"""Bytes of address space of a read; beyond, it fails."""

OUTCOMES = ("correct", "told", "silent", "crashed")


@dataclasses.dataclass(frozen=True)
class Target:
    """A format to damage.

    Attributes:
      make: writes a sound file into an empty folder, and returns its path.
      read: reads it into arrays by name.
      told: errors by which the reader tells of damage; the message must name the path.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path], Mapping[str, np.ndarray]]
    told: tuple[type[Exception], ...] = (SourceError,)


HITS = {"eb": 12, "ee": 8, "hcal": 5, "tracks": 8}


def root(compression=None, compressible=True):
    """A small AODSIM file; `compressible` photons, so that every basket is compressed and has a checksum."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        events = random_events(80, seed=11, hits=HITS)
        if compressible:
            photons = (np.round(leading(events.photons) * 8) / 8).astype(np.float32)
            events = dataclasses.replace(events, photons=from_leading(photons))
        return pathlib.Path(write_aodsim(folder / "file.root", events, cluster=40, compression=compression))

    return make


def read_root(path: pathlib.Path) -> dict[str, np.ndarray]:
    return keeping.to_arrays(aodsim.read_events(path))


def with_checksum(make: Callable) -> Target:
    """The first pass over a file whose list states its checksum."""
    stated = {}

    def write(folder: pathlib.Path) -> pathlib.Path:
        path = make(folder)
        content = path.read_bytes()
        stated["content"] = Content(len(content), zlib.adler32(content))
        return path

    def read(path: pathlib.Path) -> dict[str, np.ndarray]:
        task = skim.SkimJob(str(path), hgg.SELECTIONS["central"], content=stated["content"])
        found = skim.skim_file(task).candidates
        numbers = {name: getattr(found, name) for name in ("entry", "run", "lumi", "event", "entries")}
        columns = {**numbers, **found.observables, **found.photons.columns, "counts": found.photons.counts}
        return {name: np.asarray(values) for name, values in columns.items()}

    return Target(write, read)


def hdf5(**options):
    """A small file of crops, as the public ones are; options as in h5py's `create_dataset`."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        random = np.random.default_rng(5)
        images = np.zeros((20, 1024, 2), np.float32)
        for image in images:
            image[random.choice(1024, 30, replace=False)] = random.uniform(0.01, 1, (30, 2))
        images = images.reshape(20, 32, 32, 2)
        with h5py.File(folder / "SinglePhoton.hdf5", "w") as file:
            file.create_dataset("X", data=images, **options)
            file.create_dataset("y", data=np.zeros(20, np.float32), **options)
        return folder / "SinglePhoton.hdf5"

    return make


def read_hdf5(path: pathlib.Path) -> dict[str, np.ndarray]:
    tasks = shower_files.file_jobs([path])
    showers = [shower_files.read(task) for split in tasks.values() for task in split]
    return keeping.to_arrays(Showers.concatenate(showers))


def make_kept(folder: pathlib.Path) -> pathlib.Path:
    keeping.write_events(folder / "kept.npz", random_events(20, seed=3, hits=HITS))
    return folder / "kept.npz"


def read_kept(path: pathlib.Path) -> dict[str, np.ndarray]:
    events = keeping.read_events(path)
    if events is None:
        raise npz.NpzError(f"{path} is made again.")
    return keeping.to_arrays(events)


def make_pool(folder: pathlib.Path) -> pathlib.Path:
    random, parts = np.random.default_rng(1), {}
    for name in ("ecal", "hcal"):
        counts = random.integers(1, 30, 50)
        columns = {"cell": random.integers(0, 4176, counts.sum()).astype(np.uint16)}
        columns["energy"] = random.uniform(0.01, 3, counts.sum()).astype(np.float32)
        parts[name] = Ragged.from_counts(counts, columns)
    columns = {name: random.uniform(0.3, 2, 100).astype(np.float32) for name in ("pt", "eta", "phi")}
    tracks, zeros = Ragged.from_counts(np.full(50, 2), columns), np.zeros(50, np.float32)
    pool_files.write_pool(
        folder / "pool.npz", pileup.Pool(**parts, tracks=tracks, vertex_z=zeros, sum_pt2=zeros)
    )
    return folder / "pool.npz"


def read_pool(path: pathlib.Path) -> dict[str, np.ndarray]:
    pool = pool_files.read_pool(path, 50, endcaps=False)
    return {
        f"{part}.{name}": column
        for part in ("ecal", "hcal", "tracks")
        for name, column in getattr(pool, part).columns.items()
    }


TARGETS = {
    "root": Target(root(), read_root),
    "root-some-uncompressed": Target(root(compressible=False), read_root),
    "root-uncompressed": Target(root(uproot.ZLIB(0), compressible=False), read_root),
    "root-uncompressed-checksum": with_checksum(root(uproot.ZLIB(0), compressible=False)),
    "hdf5": Target(hdf5(), read_hdf5),
    "hdf5-gzip": Target(hdf5(compression="gzip", chunks=True), read_hdf5),
    "hdf5-fletcher32": Target(hdf5(fletcher32=True, chunks=True), read_hdf5),
    "kept-npz": Target(make_kept, read_kept, (npz.NpzError,)),
    "pileup-pool": Target(make_pool, read_pool, (npz.NpzError,)),
}
"""Name -> what to damage."""


def flip_bytes(content: bytearray, random: np.random.Generator) -> None:
    for place in random.integers(0, len(content), random.integers(1, 4)):
        content[place] ^= int(random.integers(1, 256))


def flip_bit(content: bytearray, random: np.random.Generator) -> None:
    content[random.integers(0, len(content))] ^= 1 << int(random.integers(0, 8))


def cut(content: bytearray, random: np.random.Generator) -> None:
    del content[random.integers(0, len(content)) :]


def zero(content: bytearray, random: np.random.Generator) -> None:
    start, length = random.integers(0, len(content)), 2 ** random.integers(0, 11)
    content[start : start + length] = bytes(len(content[start : start + length]))


def repeat(content: bytearray, random: np.random.Generator) -> None:
    """One part over another."""
    source, target = random.integers(0, len(content), 2)
    part = content[source : source + 2 ** random.integers(0, 11)][: len(content) - target]
    content[target : target + len(part)] = part


DAMAGES = (flip_bytes, flip_bit, cut, zero, repeat)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Changes with any value, type or shape."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def outcome(target: Target, path: pathlib.Path, expected: str) -> tuple[str, str]:
    """`read_once` in a separate process, whose death counts as a crash."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.close(readable)
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.write(writable, " ".join(read_once(target, path, expected)).encode()[:4000])
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        name, _, detail = pipe.read().decode().partition(" ")
    _, status = os.waitpid(child, 0)
    return (name, detail) if name else ("crashed", f"wait status {status}")


def read_once(target: Target, path: pathlib.Path, expected: str) -> tuple[str, str]:
    """Reads in this process: an outcome and, of a crash, what it was."""
    warnings.simplefilter("ignore")
    try:
        return "correct" if digest(target.read(path)) == expected else "silent", ""
    except target.told as error:
        return ("told", "") if str(path) in str(error) else ("crashed", f"no path in: {error}")
    except BaseException as error:
        return "crashed", f"{type(error).__name__}: {error}"


def damage(target: Target, folder: pathlib.Path, mutations: int, seed: int) -> collections.Counter:
    """Damages a sound file again and again; prints what crashed, and counts outcomes."""
    path = target.make(folder)
    content, expected, counts = path.read_bytes(), digest(target.read(path)), collections.Counter()
    for number in range(mutations):
        how, damaged = DAMAGES[number % len(DAMAGES)], bytearray(content)
        how(damaged, np.random.default_rng([seed, number]))
        if damaged == content:
            counts["correct"] += 1
            continue
        path.write_bytes(damaged)
        name, detail = outcome(target, path, expected)
        counts[name] += 1
        if name == "crashed":
            print(f"  {how.__name__} number {number}: {name} {detail}", flush=True)
    return counts


def main() -> None:
    """Prints a table of outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--mutations", type=int, default=2000, help="of each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| damaged | " + " | ".join(OUTCOMES) + " | s |\n|---|" + "---|" * (len(OUTCOMES) + 1))
    for name in options.names or TARGETS:
        folder, start = pathlib.Path(tempfile.mkdtemp(prefix="mutations-")), time.perf_counter()
        try:
            counts = damage(TARGETS[name], folder, options.mutations, options.seed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        row = " | ".join(str(counts[outcome]) for outcome in OUTCOMES)
        print(f"| {name} | {row} | {time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
