"""Python code without comments, docstrings and layout, which do not change its results."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import marshal
import pathlib
from collections.abc import Callable

STUDY = "STUDY"
"""Name of the study in a user's file. Its settings are compared separately, not as code."""


@functools.cache
def statements(text: str) -> str:
    """The statements of some code, without docstrings and without the assignment of `STUDY`."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [s for s in body if not _is_text(s) and not _is_study(s)]
    return ast.dump(tree)


def digest_of_module(function: Callable) -> str:
    """The digest of the file that defines a function, or of its code object if there is no file."""
    try:
        text = statements(pathlib.Path(inspect.getsourcefile(function)).read_text())
    except (TypeError, OSError, SyntaxError):
        made = getattr(function, "__code__", None)
        text = marshal.dumps(made).hex() if made else repr(function)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_study(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and [ast.unparse(t) for t in statement.targets] == [STUDY]
