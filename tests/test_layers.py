"""The order of the package's layers: lower ones import no higher ones."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (  # from the bottom up
    {"files", "errors"},
    {"detector"},
    {"events"},
    {"study"},
    {"studies"},
    {"execution"},
    {"sources"},
    {"datasets"},
    {"devices"},
    {"models"},
    {"runs"},
    {"evaluation"},
    {"experiment"},
    {"inference", "checkpoint"},
    {"training"},
    {"report", "display"},
    {"commands", "main", "__main__", "build"},
)
UPWARD = set()
"""Importer -> imported: what is still to be removed. Add nothing."""


def modules():
    """Name below e2e_jax -> syntax tree, of every module."""
    found = {}
    for path in sorted((ROOT / "e2e_jax").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "e2e_jax").with_suffix("").parts)
        found[name.removesuffix("__init__").removesuffix(".")] = ast.parse(path.read_text())
    return found


MODULES = modules()


def imports(tree, inside_functions=True):
    """The modules, in full, that a module imports."""
    nodes = ast.walk(tree) if inside_functions else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the layer"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("e2e_jax.") in MODULES else node.module


def layer(name):
    """The place of a module in `LAYERS`, by the longest part of its name that is there."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        for place, names in enumerate(LAYERS):
            if ".".join(parts[:end]) in names:
                return place
    return pytest.fail(f"e2e_jax.{name} belongs to no layer: name it in LAYERS.")


def ours(tree, **options):
    return {name.removeprefix("e2e_jax.") for name in imports(tree, **options) if name.startswith("e2e_jax.")}


def test_no_module_imports_a_higher_layer():
    upward = {
        (name, imported)
        for name, tree in MODULES.items()
        for imported in ours(tree)
        if name and layer(imported) > layer(name)
    }
    assert upward == UPWARD


def test_the_detector_imports_nothing_of_ours():
    outside = {
        (name, imported)
        for name, tree in MODULES.items()
        for imported in ours(tree)
        if name.startswith("detector.") and not imported.startswith("detector")
    }
    assert outside == set()


def test_no_modules_import_each_other():
    graph = {name: ours(tree, inside_functions=False) for name, tree in MODULES.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert len(order) >= len(MODULES)


def test_the_package_imports_neither_configs_nor_builders():
    for name, tree in MODULES.items():
        for imported in imports(tree):
            first, *rest = imported.split(".")
            assert first not in ("configs", "data_builders"), name
            assert [first, *rest[:1]] != ["e2e_jax", "configs"], name
    named = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and str(node.value).startswith("data_builders.")
    }
    assert named == set()


def test_no_module_changes_the_search_path():
    for name, tree in MODULES.items():
        assert "sys.path" not in {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}, (
            name
        )
