"""Table of Pythia's multi-parton interactions, for a fast start with minimum-bias collisions.

Pythia integrates their cross-sections when it starts, for non-diffractive collisions and for diffractive
systems of several masses. This takes 6 s; with the table, Pythia starts in 0.1 s. A table is valid for one
version of Pythia; other versions integrate again. After a change of `generator.MINIMUM_BIAS` or
`generator.COMMON`, make it again: `python -m e2e_jax.sources.simulation.multiparton`.
"""

from __future__ import annotations

import importlib.metadata
import pathlib

WRITE, READ = 1, 2
"""Pythia's `MultipartonInteractions:reuseInit`: integrate and write the table, or read it."""


def table() -> pathlib.Path:
    """Path of the table for the installed version of Pythia; it may not exist."""
    version = importlib.metadata.version("pythia8mc")
    return pathlib.Path(__file__).parent / "data" / f"multiparton_{version}.txt"


def use(path: pathlib.Path, pythia, mode: int = READ) -> None:
    """Let a Pythia object read or write the table when it starts."""
    pythia.settings.mode("MultipartonInteractions:reuseInit", mode)
    pythia.settings.word("MultipartonInteractions:initFile", str(path))


def write(path: pathlib.Path) -> None:
    """Integrate and write a table."""
    import pythia8mc

    from e2e_jax.sources.simulation import generator

    pythia = pythia8mc.Pythia("", False)
    for setting in (*generator.COMMON, *generator.MINIMUM_BIAS.source.settings, "Random:seed = 1"):
        pythia.readString(setting)
    use(path, pythia, WRITE)
    pythia.init()


if __name__ == "__main__":
    write(table())
