"""Reading speed of CMS AODSIM on one core: events per second, and the shares of uproot and of our code.

    python benchmarks/aodsim.py FILE [--events 2000] [--output aodsim.json]

FILE is a real AODSIM file of any size. Its events are repeated, with new event numbers, in a file of
`--events` events with the branches that are read, compressed like CMS files, with a basket every 50 entries.
(CMSSW 5_3 ends a cluster after 15 MB, which is about as many events of the 2012 samples.) Copies of an event
are rotated about the beam and smeared, so that they compress no better than different events. Prints for the
skim (photons and addresses), for the full read of all events, and for the hits of one event in a hundred:

- events per second of this file, from the second tree on (the first compiles the file's classes);
- the share of uproot (request, decompression, offsets) and of the code here (checks, cells, tracks);
- the peak memory of a process that reads the file piece by piece.

The time to open a real file with its thousands of branches is printed separately, because it does not depend
on the number of events. Times are CPU seconds of this process, which depend least on other work.
"""

import argparse
import contextlib
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

import awkward
import numpy as np
import uproot
import uproot.models.TBasket

from e2e_jax.detector import ids
from e2e_jax.sources.root import aodsim, root_files
from e2e_jax.sources.root.baskets import Branch, Column
from e2e_jax.sources.root.tiers import AODSIM
from e2e_jax.studies import hgg

BASKET = 50
BRANCHES = {**AODSIM.skim, **AODSIM.hits}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="a real AODSIM file")
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5, help="times each figure is taken; the median counts")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        return print_peak(arguments.file)
    figures = {
        "machine": platform.processor() or platform.machine(),
        "events": arguments.events,
        "passes": {},
    }
    figures["open_s"] = opening(arguments.file)
    print(f"opening the real file: {figures['open_s']:.2f} s, once a file")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/repeated.root"
        figures["bytes_per_event"] = size = repeat(arguments.file, path, arguments.events)
        print(
            "{repeated:.0f} compressed bytes an event of the branches read, {real_file:.0f} really".format(
                **size
            )
        )
        print(f"{'pass':<28}{'events/s':>10}{'ms an event':>13}{'uproot':>9}{'here':>7}")
        for name, read in passes(path, arguments.events).items():
            figures["passes"][name] = one = measure(path, read, arguments.events, arguments.repeat)
            print(
                f"{name:<28}{one['events_per_s']:>10.0f}{1e3 / one['events_per_s']:>13.3f}"
                f"{1 - one['share']:>9.0%}{one['share']:>7.0%}"
            )
        figures["peak_mb"] = peak(path)
        print(f"peak memory of iterate_events: {figures['peak_mb']:.0f} MB")
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(figures, file, indent=1)


def passes(path: str, events: int) -> dict:
    """What is timed."""
    some = np.arange(0, events, 100)
    return {
        "skim": lambda: aodsim.read_candidates(path, hgg.SELECTIONS["central_forward"]),
        "full": lambda: sum(len(part) for part in aodsim.iterate_events(path)),
        "hits of 1 event in 100": lambda: aodsim.read_entries(path, some),
    }


def repeat(source: str, path: str, events: int) -> dict[str, float]:
    """Writes the events of a file, again and again, as a file of one tree.

    Returns:
      compressed bytes an event of the branches read, in the real file and in the new one.
    """
    with root_files.open_tree(source, AODSIM.tree, BRANCHES) as tree:
        columns = tree.read(BRANCHES)
    random = np.random.default_rng(0)
    copies = [varied(columns, i, random) for i in range(-(-BASKET // len(columns[AODSIM.auxiliary].counts)))]
    lists = {name: awkward.concatenate([copy[name] for copy in copies]) for name in columns}
    types = {name: f"var * {column.values.dtype}" for name, column in columns.items()}
    with uproot.recreate(path, compression=uproot.ZLIB(7)) as file:
        tree = file.mktree(AODSIM.tree, types, counter_name=lambda name: f"n{name}")
        for first in range(0, events, BASKET):
            part = {name: some[: min(BASKET, events - first)] for name, some in lists.items()}
            part[AODSIM.auxiliary] = numbered(part[AODSIM.auxiliary], first)
            tree.extend(part)
    return {"real_file": compressed(source), "repeated": compressed(path)}


def compressed(path: str) -> float:
    with uproot.open(path) as file:
        tree = file[AODSIM.tree]
        return sum(tree[name].compressed_bytes for name in BRANCHES) / tree.num_entries


def varied(columns: dict, copy: int, random: np.random.Generator) -> dict[str, awkward.Array]:
    """The events rotated about the beam and smeared, so that a copy compresses no better than an original."""
    out = dict(columns)
    for collection, prefix in AODSIM.calorimeters.items():
        counts, hit_ids = columns[f"{prefix}id_.id_"]
        hit_ids = turned(collection, hit_ids, copy)
        order = np.lexsort((hit_ids, np.repeat(np.arange(len(counts)), counts)))
        out[f"{prefix}id_.id_"] = Column(counts, hit_ids[order])
    for name, (counts, values) in out.items():
        if values.dtype == np.float32:
            # Smaller, so that no angle leaves its range.
            smeared = values * random.uniform(0.8, 1, len(values))
            out[name] = Column(counts, smeared.astype(np.float32))
    return {name: awkward.unflatten(values, counts) for name, (counts, values) in out.items()}


def turned(collection: str, hit_ids: np.ndarray, copy: int) -> np.ndarray:
    """Ids of other cells at the same |eta|, another set for each of the first eight copies."""
    if collection == "eb":
        ieta, iphi = ids.decode_eb(hit_ids)
        return ids.encode_eb(ieta, (iphi - 1 + 71 * copy) % 360 + 1)
    if collection == "ee":
        ix, iy, zside = ids.decode_ee(hit_ids)
        return ids.encode_ee(
            101 - ix if copy & 1 else ix, 101 - iy if copy & 2 else iy, (1 - (copy & 4) / 2) * zside
        )
    ieta, iphi, depth, subdetector = ids.decode_hcal(hit_ids)
    return ids.encode_hcal(ieta, (iphi - 1 + 4 * copy) % 72 + 1, depth, subdetector)


def numbered(auxiliary, first: int):
    """The same EventAuxiliary with event numbers starting at `first` + 1, so that each is unique."""
    numbers = awkward.to_numpy(auxiliary).copy()
    history = int.from_bytes(numbers[0, :4].tobytes(), "big") & 0x3FFFFFFF
    place = 4 + history + 6 + 8
    event = np.arange(first + 1, first + 1 + len(numbers), dtype=">u4")
    numbers[:, place : place + 4] = event.view(np.uint8).reshape(-1, 4)
    return awkward.from_regular(awkward.from_numpy(numbers, regulararray=True))


def measure(path: str, read, events: int, times: int) -> dict[str, float]:
    """Median rate of a pass without opening the file, and the fraction of its time outside of uproot."""
    totals, shares = [], []
    for _ in range(times):
        open_s = opening(path)
        with uproot_clock() as clock:
            start = time.process_time()
            read()
            totals.append(time.process_time() - start - open_s)
        shares.append(1 - sum(clock) / totals[-1])
    return {"events_per_s": events / statistics.median(totals), "share": statistics.median(shares)}


@contextlib.contextmanager
def uproot_clock():
    """Yields a list that gets the CPU seconds of each of uproot's parts of reading baskets."""
    seconds, owners = [], [(Branch, "_decompressed"), (root_files.Tree, "_fetch")]

    def timed(function):
        def call(*args):
            start = time.process_time()
            try:
                return function(*args)
            finally:
                seconds.append(time.process_time() - start)

        return call

    with contextlib.ExitStack() as stack:
        for owner, name in owners:
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name))))
        yield seconds


def opening(path: str) -> float:
    """CPU seconds of the second opening of the tree of a real file."""
    for _ in range(2):
        start = time.process_time()
        with root_files.open_tree(path, AODSIM.tree, BRANCHES):
            seconds = time.process_time() - start
    return seconds


def peak(path: str) -> float:
    """Peak memory in MB of a process that reads a file piece by piece."""
    done = subprocess.run(
        [sys.executable, __file__, path, "--peak"], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def print_peak(path: str):
    for _ in aodsim.iterate_events(path):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


if __name__ == "__main__":
    main()
