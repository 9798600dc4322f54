"""Reading speed and memory for the public HDF5 crops of showers.

    python benchmarks/shower_files.py [--events 249000] [--folder DIR] [--chunked] [--json FILE]

Makes a file with the shape of the public files in a temporary folder, and reads it piece by piece in one
process, like a build of `ecal_showers/crops_hdf5`. Prints events per second and the peak memory of the
process (resident set). The file has 8 kB per event and is read once before, so that the disk's speed does not
count.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np

from e2e_jax.sources.public import shower_files

LIT = 60
"""Crystals of a crop with energy: of the order of those that a shower and the noise light."""
TOGETHER = 1000


def make(path, events, chunked):
    """Writes a file of crops: `LIT` random crystals an event with energy and time, all else 0."""
    random = np.random.default_rng(0)
    storage = {"chunks": (100, *shower_files.PIXELS), "compression": "lzf"} if chunked else {}
    with h5py.File(path, "w") as file:
        images = file.create_dataset("X", (events, *shower_files.PIXELS), np.float32, **storage)
        for first in range(0, events, TOGETHER):
            n = min(TOGETHER, events - first)
            flat = np.zeros((n, 32 * 32, 2), np.float32)
            cells = random.integers(0, 32 * 32, (n, LIT))
            flat[np.arange(n)[:, None], cells] = random.exponential(0.02, (n, LIT, 2)) + 1e-3
            images[first : first + n] = flat.reshape(n, *shower_files.PIXELS)
        file["y"] = np.ones(events, np.float32)


def read(path):
    """Reads all events; returns their number, seconds, and the process's peak memory in MB."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass
    start, events = time.perf_counter(), 0
    for tasks in shower_files.file_jobs([path]).values():
        for task in tasks:
            events += len(shower_files.read(task))
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    return events, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=249_000)
    parser.add_argument("--folder", help="where to put the file; the system's temporary folder by default")
    parser.add_argument("--chunked", action="store_true", help="a file in compressed chunks")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.read)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "SingleElectron_crops.hdf5"
        make(path, options.events, options.chunked)
        # In a process of its own, whose memory is that of the reading alone.
        done = subprocess.run([sys.executable, __file__, "--read", path], capture_output=True, check=True)
    events, seconds, memory = json.loads(done.stdout)
    print(f"{events} events in {seconds:.1f} s: {events / seconds:,.0f} events/s; at most {memory:.0f} MB")
    if options.json:
        figures = {"events": events, "seconds": seconds, "events/s": events / seconds, "peak MB": memory}
        Path(options.json).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
