"""Build a dataset, without TensorFlow.

python -m e2e_jax.build cms_hgg/quick
python -m e2e_jax.build haa.py:quick [--files=DIR]
python -m e2e_jax.build cms_hgg/opendata_files --files=DIR [--on_error=skip] [--train=N --validation=N]
                        [--data_dir=DIR] [--name=NAME] [--scheduler=tls://host:8786 | --workers=N]
python -m e2e_jax.build cms_hgg/opendata_central --check [--protocol=https]    checks files, reads no events
"""

import argparse
import dataclasses
import json
import pathlib
import sys

from absl import logging

from e2e_jax.commands import command_line
from e2e_jax.datasets.preparation import DatasetError

CONFIG_OPTIONS = {
    "name": (str, "name of the dataset built, where it is not that of the config it derives from"),
    "train": (int, "training events of each label"),
    "validation": (int, "validation events of each label"),
    "test": (int, "test events of each label"),
    "sample": (int, "events of each label chosen before the split; those of all splits by default"),
    "category": (str, "which of the built-in selections, such as central_forward"),
    "eras": (str, "study, for its proportions of the eras of data taking, or any"),
    "seed": (int, "seed of the dataset"),
    "files": (
        str,
        "read files: folder with <label>.txt for each label, or with copies of the published file "
        "indexes; for crops, folder with the HDF5 file of each particle; for jets, folder of their images",
    ),
    "pileup": (float, "mean number of simulated collisions overlaid"),
    "on_error": (str, "fail, or skip: leave out and count what is at fault in the data"),
    "protocol": (str, "root or https, for the files of the CERN Open Data portal; as listed by default"),
    "strict": (bool, "fail if there are fewer events than the sizes; by default the dataset gets smaller"),
}
"""Options that change a field of the dataset's config: name -> (type, description)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        command_line.stop(f"{message}. --help lists the options.")


def parse(argv):
    """Parse the options to a namespace; an invalid option prints a paragraph and exits with code 1."""
    parser = _Parser(prog="python -m e2e_jax.build", description="Builds a dataset.", allow_abbrev=False)
    parser.add_argument("dataset", help="such as cms_hgg/quick, or haa.py:quick for a study of your own")
    parser.add_argument("--data_dir", default="", help="folder of the datasets; TFDS's own by default")
    parser.add_argument("--scheduler", help="Dask scheduler to run on: tls://host:8786, or its file")
    parser.add_argument("--workers", type=int, help="processes on this machine; one a core by default")
    parser.add_argument(
        "--check",
        nargs="?",
        const="sizes",
        choices=("sizes", "checksums"),
        help="look at all files of the lists instead of building; checksums reads every file whole",
    )
    for name, (kind, text) in CONFIG_OPTIONS.items():
        how = {"action": "store_true", "default": None} if kind is bool else {"type": kind}
        parser.add_argument(f"--{name}", help=text, **how)
    return parser.parse_args(argv[1:])


def build(dataset, data_dir="", scheduler=None, workers=None, **changes):
    """Build a dataset if it does not exist yet.

    Args:
      dataset: builder and config, such as "cms_hgg/quick", or study and size, such as "haa.py:quick".
      data_dir: folder of the datasets; if empty, TFDS's own (`TFDS_DATA_DIR`, or `~/tensorflow_datasets`).
      scheduler: Dask scheduler to run on, see `execution.cluster`.
      workers: processes on this machine, if there is no scheduler.
      **changes: fields of the config to change; see `CONFIG_OPTIONS`.

    Returns:
      The folder of the dataset and its metadata.

    Raises:
      DatasetError: the dataset or field does not exist, or another dataset has this name.
      StudyError: the study cannot be used.
      SourceError, QuotaError, JobError, ClusterError: see `sources`.
    """
    import tensorflow_datasets as tfds

    from e2e_jax.execution import cluster
    from e2e_jax.execution.workers import WorkerPool

    builder_class, config = _changed_config(dataset, changes)
    root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    folder = root / builder_class.name / config.name / str(builder_class.VERSION)
    if folder.exists():
        return folder, _recorded(folder, config)

    executor = cluster.executor(scheduler)
    if executor is None and workers is not None:
        if workers < 1:
            raise DatasetError(f"{workers} workers make no dataset: --workers takes 1 or more.")
        executor = WorkerPool(workers)
    try:
        builder_class(config=config, data_dir=root, executor=executor).download_and_prepare()
    finally:
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
    return folder, _recorded(folder, config)


def check(dataset, checksums=False, **changes):
    """Check the files of a dataset; arguments as for `build`.

    Returns:
      A report, and whether all files can be read.

    Raises:
      DatasetError: the dataset or field does not exist, or the dataset reads no files.
      StudyError: the study cannot be used.
      SourceError: a list of files is absent or wrong, or the network fails.
    """
    builder_class, config = _changed_config(dataset, changes)
    if not hasattr(config, "check"):
        raise DatasetError(f"{dataset} has no lists of files that --check could look at.")
    return config.check(f"{builder_class.name}/{config.name}", checksums)


def _changed_config(dataset, changes):
    """The builder class, and its config with the changed fields."""
    from e2e_jax.datasets import naming
    from e2e_jax.datasets.configs import SimulatedConfig

    builder_class, config_name = naming.find(dataset)
    config = builder_class.builder_configs.get(config_name)
    if config is None:
        raise naming.unknown(dataset)
    changes = {field: value for field, value in changes.items() if value is not None}
    if isinstance(config, SimulatedConfig) and "files" in changes and config.study.events == "collisions":
        config = config.reading()
    fields = {field.name for field in dataclasses.fields(config)}
    if unknown := sorted(changes.keys() - fields):
        options = ", ".join(f"--{option}" for option in CONFIG_OPTIONS if option in fields)
        raise DatasetError(f"{dataset} has no --{unknown[0]}; it has {options}.")
    if "sample" in fields and changes.keys() & {"train", "validation"}:
        # The sample of the config belongs to its own sizes.
        changes = {"sample": 0} | changes
    return builder_class, dataclasses.replace(config, **changes) if changes else config


def _recorded(folder, config):
    """The metadata of the dataset in the folder, after checking that it matches the config."""
    from e2e_jax.datasets import preparation

    preparation.check_study(folder, config)
    recorded = preparation.read_metadata(folder)
    asked = json.loads(json.dumps(config.provenance()))
    # These do not change the events. A strictly built dataset also satisfies a request that is not strict.
    free = {"versions", "protocol", *(["strict"] if not asked.get("strict") else [])}
    differ = [f"{k} {recorded.get(k)}" for k, v in asked.items() if k not in free and recorded.get(k) != v]
    if differ:
        raise DatasetError(
            f"There is another dataset of that name in {folder}: it has {', '.join(differ)}. Give this one "
            "a name of its own (--name=NAME), or remove that folder."
        )
    return recorded


def _summary(folder, metadata):
    """A summary of the dataset in a few lines."""
    lines = [str(folder)]
    for split, classes in metadata["events"].items():
        events = {name: sum(by_run.values()) for name, by_run in classes.items()}
        each = ", ".join(f"{number} {name}" for name, number in events.items())
        lines.append(f"{split}: {sum(events.values())} events ({each})")
    if skipped := metadata.get("skipped"):
        lines.append("skipped: " + ", ".join(f"{number} x {reason}" for reason, number in skipped.items()))
    return "\n".join(lines)


def main(argv):
    """Build the dataset of the command line. Errors that the user can fix print one paragraph."""
    from e2e_jax.errors import ClusterError
    from e2e_jax.execution.jobs import JobError

    options = vars(parse(argv))
    # TFDS logs would hide the progress bar.
    logging.set_verbosity(logging.ERROR)
    checked = options.pop("check")
    try:
        if checked:
            names = ("dataset", *CONFIG_OPTIONS)
            text, sound = check(checksums=checked == "checksums", **{name: options[name] for name in names})
            print(text)
            sys.exit(0 if sound else 1)
        print(_summary(*build(**options)))
    except (ClusterError, JobError) as error:
        command_line.stop(str(error))
    except KeyboardInterrupt:
        command_line.stop("Interrupted. The same command continues where it stopped.")


def run():
    """Run the command with the arguments of the program."""
    command_line.reporting(main)(sys.argv)
