"""Folders with file lists as the dataset builder takes them: a few small AODSIM files of each class."""

import numpy as np

from e2e_jax.studies import hgg
from e2e_jax.studies.hgg import LABELS
from tests.aodsim_file import random_events, write_aodsim

RUNS = tuple(era.run for era in hgg.ERAS["central"])
ENTRIES = 12
"""Entries of a file: the three eras in turn; every fourth event is not selected."""

HITS = {"eb": 6, "ee": 3, "hcal": 3, "tracks": 4}


def file_events(place, label=0, runs=RUNS, entries=ENTRIES):
    """The events of the file at that place of a class's list: no two files share any."""
    return random_events(
        entries,
        seed=100 * label + place,
        run=np.resize(runs, entries),
        lumi=1 + place,
        first=1 + place * entries,
        hits=HITS,
        selected=np.arange(entries) % 4 != 3,
        label=label,
    )


def write_lists(folder, files=3, **options):
    """Writes `files` files and the list of each class; options as in `file_events`. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, name in enumerate(LABELS):
        names = [f"{name}_{place}.root" for place in range(files)]
        for place, file in enumerate(names):
            write_aodsim(folder / file, file_events(place, label, **options), cluster=5)
        write_list(folder, name, names)
    return folder


def write_list(folder, name, lines):
    """Writes the list of a class."""
    (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in ["# files", "", *lines]))
