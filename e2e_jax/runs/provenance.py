"""The provenance of a result: time, commit, versions, devices."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import jax

from e2e_jax.execution.workers import processor

PACKAGES = ("e2e_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets")
"""Packages whose versions are recorded."""


def provenance(seed: int) -> dict:
    """The provenance of the results: time (UTC), commit, versions, processor, devices, seed."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(Path(__file__).parents[2]),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "device": {"kind": jax.devices()[0].device_kind, "count": jax.device_count()},
        "seed": seed,
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(root):
    """The commit of the checkout at `root`, with "-dirty" if tracked files changed; else None."""

    def git(*arguments):
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # An installed package may be inside the checkout of another project, whose commit is irrelevant.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
