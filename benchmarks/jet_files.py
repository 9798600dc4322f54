"""Speed of the conversion of public jet images, compared with pyarrow or h5py reading the same file.

    python benchmarks/jet_files.py [--jets 2000] [--form parquet] [--channels 3] [--build] [--json FILE]

Writes a file in the published layout to a temporary folder and reads it once, so that the disk's speed does
not count. In turns, in one process: "library", pyarrow or h5py alone, each column as a numpy array; "ours",
the same and sparse jets made of it, checked. Prints the rates by processor time; our share, the time beyond
the library's, over the library's time and over ours; the bytes per jet of the file and of the sparse arrays;
and the peak memory of the process. With --build it also builds the dataset and prints the bytes per jet
on disk. An HDF5 file needs 5 times `jet_files.PIECE` jets, as shorter ones are read in parts of chunks.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2e_jax.events.jets import Jets
from e2e_jax.sources.public import jet_files
from e2e_jax.studies import jets as study

LIT = {"tracks": 20, "ecal": 500, "hcal": 25}
"""Pixels, or HCAL towers, hit by a simulated jet; other channels have as many as tracks."""
SIDE = 125
GROUP = 100


def images_of(n, channels, random):
    """Images `[n, channels, 125, 125]`, float32."""
    made = np.zeros((n, len(channels), SIDE * SIDE), np.float32)
    for number, name in enumerate(channels):
        lit = LIT.get(name, LIT["tracks"])
        if name == "hcal":
            towers = np.zeros((n, 25 * 25), np.float32)
            cells = random.integers(0, 25 * 25, (n, lit))
            towers[np.arange(n)[:, None], cells] = random.exponential(2, (n, lit))
            made[:, number] = towers.reshape(n, 25, 25).repeat(5, 1).repeat(5, 2).reshape(n, -1)
        else:
            cells = random.integers(0, SIDE * SIDE, (n, lit))
            made[np.arange(n)[:, None], number, cells] = random.exponential(1, (n, lit))
    return made.reshape(n, len(channels), SIDE, SIDE)


def make(path, jets, channels):
    """Writes a file: Parquet with one jet in each row group and doubles, or HDF5 in compressed chunks."""
    random = np.random.default_rng(0)
    pieces = [min(GROUP, jets - first) for first in range(0, jets, GROUP)]
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            shape = (jets, SIDE, SIDE, len(channels))
            chunks = (GROUP, SIDE, SIDE, 1)
            data = file.create_dataset("X_jets", shape, np.float32, chunks=chunks, compression="gzip")
            for k, n in enumerate(pieces):
                data[k * GROUP : k * GROUP + n] = np.moveaxis(images_of(n, channels, random), 1, -1)
            for name in ("pt", "m0", "y"):
                file[name] = np.float32(np.arange(jets) % 2)
        return
    image = pa.list_(pa.list_(pa.list_(pa.float64())))
    number = [(name, pa.float64()) for name in ("pt", "m0", "y")]
    with pq.ParquetWriter(path, pa.schema([("X_jets", image), *number]), compression="snappy") as writer:
        for n in pieces:
            for k, one in enumerate(images_of(n, channels, random)):
                columns = [pa.array([one.tolist()], image), *(pa.array([float(k % 2)]) for _ in number)]
                writer.write_table(pa.table(columns, [name for name, _ in [("X_jets", image), *number]]))


def library(path):
    """The columns as numpy arrays, by pyarrow or h5py alone; the number of jets."""
    if path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            n = len(file["y"])
            for first in range(0, n, jet_files.PIECE):
                rows = slice(first, first + jet_files.PIECE)
                for name in ("X_jets", "pt", "m0", "y"):
                    file[name][rows]
            return n
    done = 0
    for batch in pq.ParquetFile(path, memory_map=True).iter_batches(jet_files.TOGETHER, use_threads=False):
        batch.column(0).flatten().flatten().flatten().to_numpy()
        done += len(batch)
    return done


def ours(path, like):
    """The jets of all jobs."""
    jobs = jet_files.file_jobs([path], like)
    return Jets.concatenate(jet_files.read(job) for of in jobs.values() for job in of)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jets", type=int, default=2000)
    parser.add_argument("--form", choices=("parquet", "h5"), default="parquet")
    parser.add_argument("--channels", type=int, choices=(3, 8), default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", action="store_true", help="also build the dataset")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    channels = study.CHANNELS if args.channels == 3 else study.TOP_CHANNELS
    like, times = {"channels": channels}, {"library": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"jets.{args.form}")
        make(path, args.jets, channels)
        library(path)
        for _ in range(args.rounds):
            for name, run in (("library", lambda: library(path)), ("ours", lambda: ours(path, like))):
                start = time.process_time()
                run()
                times[name].append(time.process_time() - start)
        jets = ours(path, like)
        median = {name: statistics.median(values) for name, values in times.items()}
        figures = {
            "library jets/s": args.jets / median["library"],
            "ours jets/s": args.jets / median["ours"],
            "over library's time": median["ours"] / median["library"] - 1,
            "of our time": 1 - median["library"] / median["ours"],
            "file bytes/jet": path.stat().st_size / args.jets,
            "dense bytes/jet": SIDE * SIDE * args.channels * 4,
            "sparse bytes/jet": sum(values.nbytes for values in jets.arrays().values()) / args.jets,
            "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if args.build:
            figures |= built(folder, args)
    for name, value in figures.items():
        print(f"{name:<20}{value:12,.2f}")
    if args.json:
        args.json.write_text(json.dumps({"arguments": vars(args), **figures, "seconds": times}, default=str))


def built(folder, args):
    """Builds the dataset with one worker: jets per second, and bytes per jet on disk."""
    from e2e_jax.commands import build

    name = "tops" if args.channels == 8 else {"parquet": "parquet", "h5": "hdf5"}[args.form]
    start = time.perf_counter()
    place, _ = build.build(f"cms_jets/{name}", f"{folder}/data", workers=1, files=folder)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in Path(place).glob("*.array_record*"))
    return {"build jets/s": args.jets / seconds, "dataset bytes/jet": size / args.jets}


if __name__ == "__main__":
    main()
