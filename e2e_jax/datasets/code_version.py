"""The version of the code that makes events: results of other code are not reused."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

import e2e_jax
from e2e_jax.files import code

SIMULATION = (
    "detector",
    "events",
    "sources/simulation",
    "study/samples.py",
    "study/selection.py",
)
"""Files and folders of the code that can change simulated events."""

READING = (
    "detector/geometry.py",
    "detector/ids.py",
    "events/base.py",
    "events/diphotons.py",
    "events/identity.py",
    "events/joining.py",
    "sources/opendata/hits.py",
    "sources/opendata/skim.py",
    "sources/root/aodsim.py",
    "sources/root/auxiliary.py",
    "sources/root/baskets.py",
    "sources/root/faults.py",
    "sources/root/reading.py",
    "sources/root/rec_hits.py",
    "sources/root/root_files.py",
    "sources/root/tiers.py",
    "study/observables.py",
    "study/samples.py",
    "study/selection.py",
)
"""Files and folders of the code that can change the events read from an AODSIM file."""


def code_version(produce: Callable, parts: Iterable[str] = SIMULATION, packages: Iterable[str] = ()) -> str:
    """A digest of everything that can change the events of a job, so that no stale job is reused.

    It ignores comments, docstrings and layout of the code.

    Args:
      produce: function that makes the events; its file is included.
      parts: files and folders of this package to include.
      packages: packages whose versions are included, in addition to numpy.
    """
    package = pathlib.Path(e2e_jax.__file__).parent
    files = {pathlib.Path(inspect.getfile(produce))}
    for path in (package / part for part in parts):
        files.update(path.rglob("*.py") if path.is_dir() else [path])
    digest = hashlib.sha256(
        "".join(code.statements(path.read_text()) for path in sorted(files)).encode()
    ).hexdigest()
    others = "".join(f" {name} {package_version(name)}" for name in packages)
    return f"{digest[:32]} numpy {np.__version__}{others}"


def package_version(name: str) -> str:
    """The version of an installed package, or "absent"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
