"""A damaged file raises a SourceError or gives exactly the data that were written.

E2E_MUTATIONS=5000 damages that many files of each kind instead of the default.
"""

import collections
import contextlib
import gc
import os
import resource
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import uproot

from e2e_jax.errors import SourceError
from e2e_jax.events.diphotons import COLLECTIONS, from_leading, leading
from e2e_jax.sources.root import aodsim
from e2e_jax.sources.root.tiers import AODSIM
from tests.aodsim_file import random_events, write_aodsim

FILES = int(os.environ.get("E2E_MUTATIONS", "120"))
"""Number of damaged files of each kind."""

EVENTS, CLUSTER = 80, 40
HITS = {"eb": 12, "ee": 8, "hcal": 5, "tracks": 8}
SECONDS = 120
"""Seconds after which a read counts as hanging, also on a busy machine."""

MEGABYTES = 500
"""Maximum additional memory for reading damaged files, compared with sound ones."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A small file in which a checksum covers every number that is read."""
    events = random_events(EVENTS, seed=11, hits=HITS)
    # Round numbers: otherwise uproot, like ROOT, would store baskets that zlib makes no smaller uncompressed.
    photons = np.round(leading(events.photons) * 8) / 8
    object.__setattr__(events, "photons", from_leading(photons))
    path = write_aodsim(tmp_path_factory.mktemp("sound") / "file.root", events, cluster=CLUSTER)
    return Path(path).read_bytes(), aodsim.read_events(path), payloads(path)


def payloads(path):
    """Whether each byte of the file is a compressed number, bool `[bytes]`."""
    covered = np.zeros(os.path.getsize(path), bool)
    with uproot.open(path) as file:
        tree = file[AODSIM.tree]
        for branch in tree.branches:
            for number in range(branch.num_baskets):
                basket = branch.basket(number)
                start, size = branch.member("fBasketSeek")[number], branch.basket_compressed_bytes(number)
                covered[start + basket.member("fKeylen") : start + size] = True
                if branch.name in {*AODSIM.skim, *AODSIM.hits}:
                    assert basket.compressed_bytes < basket.uncompressed_bytes, (
                        f"{branch.name} has no checksum"
                    )
    return covered


def places(random, covered, count):
    """Random positions in the file; half of them in keys and tables, which no checksum covers."""
    if random.random() < 0.5:
        return random.choice(np.flatnonzero(~covered), count)
    return random.integers(0, len(covered), count)


def flip(content, covered, random):
    for place in places(random, covered, random.integers(1, 4)):
        content[place] ^= random.integers(1, 256)


def flip_bit(content, covered, random):
    content[places(random, covered, 1)[0]] ^= 1 << random.integers(0, 8)


def cut(content, covered, random):
    del content[places(random, covered, 1)[0] :]


def zero(content, covered, random):
    start, length = places(random, covered, 1)[0], 2 ** random.integers(0, 11)
    content[start : start + length] = bytes(len(content[start : start + length]))


def swap(content, covered, random):
    first, second = np.sort(places(random, covered, 2))
    length = min(2 ** random.integers(0, 11), second - first, len(content) - second)
    one, other = content[first : first + length], content[second : second + length]
    content[first : first + length], content[second : second + length] = other, one


def repeat(content, covered, random):
    """Copy one part of the file over another."""
    source, target = places(random, covered, 2)
    part = content[source : source + 2 ** random.integers(0, 11)][: len(content) - target]
    content[target : target + len(part)] = part


class Hang(BaseException):
    """Not an Exception, which a reader would treat as a fault of the file."""


@contextlib.contextmanager
def watched():
    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(path):
    try:
        return aodsim.read_events(path)
    except SourceError as error:
        return error


def assert_same(found, expected):
    for name in ("run", "lumi", "event"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name, columns in {**COLLECTIONS, "photons": ("pt", "eta", "phi")}.items():
        some, others = getattr(found, name), getattr(expected, name)
        for column in ("offsets", *columns):
            np.testing.assert_array_equal(getattr(some, column), getattr(others, column))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, flip_bit, cut, zero, swap, repeat])
def test_damage_ends_in_an_error_or_does_no_harm(sound, damage, tmp_path):
    content, events, covered = sound
    outcomes, peak = collections.Counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "damaged.root"
    for seed in range(FILES):
        damaged = bytearray(content)
        damage(damaged, covered, np.random.default_rng(seed))
        path.write_bytes(damaged)
        # Warnings do not stop a reader outside of tests.
        with watched(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path)
        if isinstance(found, SourceError):
            assert str(path) in str(found)
            outcomes[found.reason] += 1
            continue
        try:
            assert_same(found, events)
        except AssertionError as error:
            raise AssertionError(f"{damage.__name__}, seed {seed}: wrong numbers, and no error") from error
        outcomes["harmless"] += 1
    with warnings.catch_warnings():
        # uproot leaves a file that it could not open to the garbage collector.
        warnings.simplefilter("ignore")
        gc.collect()
    assert outcomes.total() - outcomes["harmless"] >= FILES / 10  # otherwise the files were hardly damaged
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1e3
    assert grown < MEGABYTES
