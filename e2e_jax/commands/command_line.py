"""Errors of the command line in one paragraph, with suggestions and the remedy."""

import argparse
import difflib
import functools
import importlib.util
import os
import re
import sys
import textwrap
import traceback
import warnings
from pathlib import Path

from absl import flags
from ml_collections import config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from e2e_jax.errors import ClusterError, TrainingError, WorkdirError
from e2e_jax.execution.jobs import JobError
from e2e_jax.files.cache import CacheError, cache_folder
from e2e_jax.runs import config_ranges
from e2e_jax.studies import loading
from e2e_jax.training import stopping

KNOWN = (
    *(WorkdirError, TrainingError, ClusterError, JobError, ValueError),
    *(FileNotFoundError, NotADirectoryError, PermissionError),
)
"""Errors whose message describes the remedy. Other errors are bugs and keep their traceback, and so does a
plain ValueError from outside this package."""

_CONFIG_HINT = (
    "Give one as --config=configs/cms_b.py:quick (file, colon, size) or, from any folder, as "
    "--config=e2e_jax.configs.cms_b:quick."
)


def parse(argv, values=flags.FLAGS):
    """Parse the flags into `values`; an invalid flag prints a paragraph and exits with code 1."""
    argv = [_with_config_file(argument) for argument in argv]
    try:
        rest = values(argv)
    except flags.Error as error:
        stop(_flag_message(error))
    except (KeyError, AttributeError) as error:
        # The error of ml_collections for an unknown field of a config.
        stop(_field_message(argv, error))
    except ValueError as error:
        stop(f"A value on the command line does not fit its config field: {error}")
    if len(rest) > 1:
        stop(f"Do not know what to do with {' '.join(rest[1:])!r}: every argument has the form --name=value.")
    return rest


def checked_config(flag):
    """The config in the flag.

    Raises:
      ValueError: no config was given, or a field is out of its range.
      FileNotFoundError: the config file does not exist.
    """
    if flag.value is None:
        raise ValueError(f"No config was given. {_CONFIG_HINT}")
    try:
        # ml_collections reports a missing file only at the first use.
        flag.value.to_dict()
    except OSError as error:
        raise FileNotFoundError(
            f"The config file cannot be read ({error.__cause__}). {_CONFIG_HINT}"
        ) from None
    config_ranges.check_fields(flag.value)
    return flag.value


def given_config(argv):
    """The config of a command that parses its other options itself.

    Args:
      argv: the program and the remaining arguments: --config=FILE:SIZE and --config.FIELD=VALUE.

    Raises:
      ValueError, FileNotFoundError: as `checked_config`.
    """
    argv = [_with_config_file(argument) for argument in argv]
    values = flags.FlagValues()
    flag = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    parse(argv, values)
    return checked_config(flag)


def keep_compiled_programs():
    """Make JAX cache compiled programs, so that a second or resumed run does not compile them again."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder("jax")))
    except CacheError as error:
        warnings.warn(f"Compiled programs are not kept: {error}", stacklevel=2)


def reporting(main):
    """`main`, with errors in `KNOWN` and missing packages printed as a paragraph, exit code 1.

    Warnings are printed as a sentence, without the source line.
    """

    @functools.wraps(main)
    def wrapped(argv):
        form, warnings.formatwarning = warnings.formatwarning, _warning
        try:
            return main(argv)
        except KNOWN as error:
            if type(error) is ValueError and not _raised_here(error):
                raise
            stop(str(error))
        except stopping.Stopped as stopped:
            _paragraph(str(stopped))
            sys.exit(stopping.EXIT_CODE)
        except ImportError as error:
            stop(_absent_package(error))
        except KeyboardInterrupt:
            stop("Interrupted. The same command continues from the last checkpoint.")
        finally:
            warnings.formatwarning = form

    return wrapped


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one paragraph with the usage of the command."""

    def error(self, message):
        stop(f"{message}. {' '.join(self.format_usage().split())}")


def stop(message):
    """Print a paragraph and end the program with exit code 1."""
    _paragraph(f"Error: {message}")
    sys.exit(1)


def _warning(message, category, *_, **__):
    kind = "Warning" if category is UserWarning else category.__name__
    return f"{kind}: {message}\n"


def _paragraph(text):
    print(textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False), file=sys.stderr)


def _absent_package(error):
    """The message for a package that is not installed. Any other ImportError is raised again."""
    if error.name is None:
        # Raised by this package, with the remedy.
        return str(error)
    package = error.name.partition(".")[0]
    if package in sys.modules or importlib.util.find_spec(package):
        raise error
    return (
        f"This needs the package {package!r}, which is not installed. "
        "`pip install -r requirements.txt` installs every package that the commands use."
    )


def _raised_here(error):
    frame = list(traceback.walk_tb(error.__traceback__))[-1][0]
    return Path(frame.f_code.co_filename).is_relative_to(Path(__file__).parents[1])


def _with_config_file(argument):
    """The argument `--config=MODULE:SIZE` with the file of the module; other arguments are unchanged."""
    given = re.fullmatch(r"(--?config=)([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(:.*)?", argument)
    if not given or given[2].endswith(".py"):
        return argument
    try:
        found = importlib.util.find_spec(given[2])
    except ModuleNotFoundError:
        found = None
    if found is None or not found.has_location:
        stop(f"There is no config {given[2]!r} to import. {_CONFIG_HINT}")
    return f"{given[1]}{found.origin}{given[3] or ''}"


def _flag_message(error):
    text = str(error)
    if "Error whilst parsing config file" in text:
        # A traceback separates the name of the flag from the cause, the error of the config.
        return text.strip().splitlines()[-1].partition(": ")[2]
    return f"{text.rstrip(' .?')}. --helpshort lists the flags; configs/default.py the fields of a config."


def _field_message(argv, error):
    """The message for an unknown field of a config, with similar fields."""
    path = next(argument.partition("=")[2] for argument in argv if argument.lstrip("-").startswith("config="))
    fields = _fields(ConfigFileFlagParser("config").parse(path), "config.")
    for argument in argv[1:]:
        name = argument.lstrip("-").partition("=")[0]
        if name.startswith("config.") and not any(f == name or f.startswith(f"{name}.") for f in fields):
            close = difflib.get_close_matches(name, fields, n=3)
            meant = f" Did you mean {' or '.join(close)}?" if close else ""
            return f"There is no field {name}.{meant} configs/default.py documents every field."
    return f"A config field does not exist: {error}"


def _fields(config, prefix):
    names = []
    for name, value in config.items():
        names += _fields(value, f"{prefix}{name}.") if hasattr(value, "items") else [prefix + name]
    return names


def default_workdir(config):
    """The default folder of a run: different for each study of a user, and for several networks."""
    where, size = loading.split_name(config.dataset.name) or ("", config.size)
    study = re.split(r"[/.]", where.removesuffix(".py"))[-1]
    several = "ensemble" if config.seeds > 1 else ""
    return os.path.join("runs", "-".join(part for part in (config.name, study, size, several) if part))
