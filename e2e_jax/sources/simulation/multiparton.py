"""The start of Pythia's multi-parton interactions for minimum-bias collisions, kept in a table.

Pythia integrates their cross-sections when it starts: for non-diffractive collisions and for diffractive
systems of several masses, 6 s in all. With the table it starts in 0.1 s. A table holds for one version of
Pythia; another version integrates anew. Make it again after a change of `generator.MINIMUM_BIAS` or of
`generator.COMMON`: `python -m e2e_jax.sources.simulation.multiparton`.
"""

from __future__ import annotations

import importlib.metadata
import pathlib

WRITE, READ = 1, 2
"""Pythia's `MultipartonInteractions:reuseInit`: integrate and write the table, or read it."""


def table() -> pathlib.Path:
    """The file of the installed version of Pythia, whether or not it exists."""
    version = importlib.metadata.version("pythia8mc")
    return pathlib.Path(__file__).parent / "data" / f"multiparton_{version}.txt"


def use(path: pathlib.Path, pythia, mode: int = READ) -> None:
    """Makes a Pythia object read the table, or write it, when it starts."""
    pythia.settings.mode("MultipartonInteractions:reuseInit", mode)
    pythia.settings.word("MultipartonInteractions:initFile", str(path))


def write(path: pathlib.Path) -> None:
    """Integrates and writes a table."""
    import pythia8mc

    from e2e_jax.sources.simulation import generator

    pythia = pythia8mc.Pythia("", False)
    for setting in (*generator.COMMON, *generator.MINIMUM_BIAS.source.settings, "Random:seed = 1"):
        pythia.readString(setting)
    use(path, pythia, WRITE)
    pythia.init()


if __name__ == "__main__":
    write(table())
