"""Loads the classifier of a finished or running training from its folder."""

import functools
from pathlib import Path

import jax

from e2e_jax import __version__, experiment
from e2e_jax.errors import WorkdirError
from e2e_jax.inference import zoo
from e2e_jax.inference.ensemble import ensemble
from e2e_jax.inference.prediction import Classifier, Predictor
from e2e_jax.runs import checkpoint_files
from e2e_jax.runs.checkpoints import check_config, step_path
from e2e_jax.runs.config import in_words
from e2e_jax.runs.folder import CONFIG, members_of, read_config
from e2e_jax.study import Task


def load_classifier(workdir, which="best"):
    """Load a trained classifier; needs only its folder, on any device.

    A run with several networks (`config.seeds`) gives their ensemble.

    Args:
      workdir: the folder of a run, or the name of a released classifier, such as "cms_b".
      which: "best" (the best epoch), "latest" (the last saved step), or the step of a checkpoint.

    Raises:
      WorkdirError: the run, released classifier or checkpoint does not exist, or no epoch is finished yet;
        or the checkpoint is damaged, from another version, or does not match the config or its network.
    """
    workdir = zoo.folder_of(workdir)
    config = read_config(workdir)
    if config.seeds > 1:
        return ensemble([load_classifier(folder, which) for folder in members_of(workdir, config)])
    path = step_path(workdir, "latest" if which == "best" else which)
    about = checkpoint_files.read_about(path)
    check_config(path, about, config)
    run, expected = _described(config, Task(**about["task"]), Path(workdir) / CONFIG)
    if which == "best":
        if not about["progress"]["history"]:
            raise WorkdirError(
                f"No epoch of the run in {workdir} is finished, so none is the best. Let it train on, or "
                "load 'latest'."
            )
        params = checkpoint_files.load(path, about, "best")
    else:
        if not any(Path(file).parts[0] == "state" for file in about["files"]):
            raise WorkdirError(
                f"{path} is a released checkpoint: it has the best epoch's parameters alone. Load 'best'."
            )
        # The whole state as it was saved: the structure of Adam's part is optax's, no part of the light core.
        params = checkpoint_files.load(path, about, "state")["params"]
    _check_shapes(path, params, expected)
    predictor = Predictor(run.task, run.network, run.inputs, run.together, run.setup, run.views)
    return Classifier(run.name, run.task, run.inputs, run.network, params, predictor)


def _described(config, task, path):
    """The objects described by the config in `path`, and the shapes of the network's parameters."""
    try:
        run = experiment.of(config, task)
        return run, jax.eval_shape(lambda: run.initial_params(jax.random.key(0)))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WorkdirError(
            f"{path} describes no network of e2e_jax {__version__}: {str(error).splitlines()[0]} Restore the "
            "file, or install the version that trained the run (results.json names it)."
        ) from error


def _check_shapes(path, saved, expected):
    """Refuse parameters that do not fit the network built by this code; the error names the differences."""
    saved, expected = _shapes(saved), _shapes(expected)
    differing = [name for name in sorted(saved | expected) if saved.get(name) != expected.get(name)]
    if not differing:
        return
    changes = {name: (saved.get(name), expected.get(name)) for name in differing[:3]}
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    raise WorkdirError(
        f"The checkpoint {path} is of another network than e2e_jax {__version__} makes of its config "
        f"({in_words(changes, 'there', 'here')}{more}). Install the version that trained the run "
        "(results.json names it)."
    )


def _shapes(tree):
    """Shapes by path, such as {"features/stem/kernel": (7, 7, 3, 16)}."""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
