"""Loading of a user's study from a Python file or a module."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import pathlib
import re
import sys
import traceback

from e2e_jax.errors import StudyError
from e2e_jax.study import Study

NAME = re.compile(r"(?P<where>.+\.py|[A-Za-z_]\w*(\.\w+)*):(?P<size>[\w.+-]+)")
"""Name of a study and its size: haa.py:quick, folder/haa.py:quick or package.haa:quick."""


def split_name(name: str) -> tuple[str, str] | None:
    """(file or module, size) of a name such as "haa.py:quick"; None for another kind of name."""
    given = NAME.fullmatch(name)
    return (given["where"], given["size"]) if given else None


def load(where: str) -> Study:
    """The `STUDY` of a Python file or a module.

    The functions of a file are sent to workers as code (cloudpickle), so workers need no copy of it. The
    functions of a module are sent by name, so workers must have the module installed or on PYTHONPATH.

    Args:
      where: path of a file, such as "haa.py", or name of a module, such as "package.haa".

    Raises:
      StudyError: the file or module does not exist, cannot be imported, or has no `STUDY`.
    """
    try:
        module = _from_file(where) if where.endswith(".py") else importlib.import_module(where)
    except StudyError as error:
        raise StudyError(f"The study {where} cannot be used. {error}") from error
    except Exception as error:  # the user's code may raise anything
        line = _line(error, where)
        raise StudyError(
            f"The study {where} does not import: {type(error).__name__}: {error}{line}."
        ) from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        found = "nothing of that name" if study is None else f"a {type(study).__name__}"
        raise StudyError(
            f"The study {where} must define STUDY = Study(...), imported from e2e_jax.study; it has {found}."
        )
    if not study.sizes:
        raise StudyError(
            f'The study {where} has no sizes: give sizes={{"quick": Size(train=1000, validation=300)}}.'
        )
    if not study.name:
        study = dataclasses.replace(study, name=pathlib.Path(where).stem.rpartition(".")[2])
    if not re.fullmatch(r"[a-z]\w*", study.name):
        raise StudyError(
            f"The study {where} has the name {study.name!r}, which is no name of a dataset: it begins with a "
            'small letter and has letters, digits and "_". Rename the file, or give Study(name=...).'
        )
    return study


def _from_file(where: str):
    import cloudpickle

    path = pathlib.Path(where).expanduser().resolve()
    if not path.is_file():
        raise StudyError(f"There is no file {path}.")
    name = f"e2e_jax_study_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # needed by dataclasses that the file defines
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    cloudpickle.register_pickle_by_value(module)
    return module


def _line(error: Exception, where: str) -> str:
    """The line of the file in which an error was raised, if any."""
    if isinstance(error, SyntaxError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if where in frame.filename]
    return f" (line {lines[-1]})" if lines else ""
