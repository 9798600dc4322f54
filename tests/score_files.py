"""Small runs, and small files of every kind that can be scored, for tests."""

import concurrent.futures

import h5py
import numpy as np
import uproot

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets.naming import HggConfig
from e2e_jax.detector import geometry
from e2e_jax.runs.checkpoints import Checkpoints
from e2e_jax.runs.folder import claim
from e2e_jax.sources.root import ntuple
from tests import synthetic_tasks
from tests.objects import random_params, run_of


def save_run(folder, config, seed=0):
    """The folder of a run whose best epoch has parameters drawn at random."""
    claim(folder, config)
    run = run_of(config)
    progress = {"history": [{"epoch": 1, "step": 1}], "steps": 0}
    with Checkpoints(folder, config, run.task, {}) as checkpoints:
        checkpoints.save(1, None, random_params(run, seed), progress)
    return folder


def write_ntuple(path, n=5):
    """A flat ntuple of events with a few hits."""
    random = np.random.default_rng(n)
    sizes = {"EB": geometry.EB_CELLS, "EEm": geometry.EE_CELLS // 2, "EEp": geometry.EE_CELLS // 2}
    columns = {f"{name}_energy": np.zeros((n, size), np.float32) for name, size in sizes.items()}
    columns |= {f"TracksPt_{name}": np.zeros((n, size), np.float32) for name, size in sizes.items()}
    for name in ("EB_energy", "TracksPt_EB"):
        columns[name][:, 20_000:20_050] = random.uniform(1, 20, (n, 50))
    columns["HBHE_energy"] = np.zeros((n, 56 * geometry.HCAL_COLUMNS), np.float32)
    columns["m0"] = random.uniform(100, 180, n)
    columns |= {"runId": np.ones(n, np.int32), "lumiId": np.ones(n, np.int32), "eventId": np.arange(7, 7 + n)}
    with uproot.recreate(path) as file:
        file.mktree(ntuple.TREE, {name: (c.dtype, c.shape[1:]) for name, c in columns.items()})
        file[ntuple.TREE].extend(columns)
    return str(path)


def write_crops(path, n=12):
    """A public file of crops, of electrons."""
    random = np.random.default_rng(n)
    images = np.zeros((n, 32, 32, 2), np.float32)
    images[:, 12:18, 12:18] = random.uniform(0.01, 1, (n, 6, 6, 2))
    with h5py.File(path, "w") as file:
        file["X"], file["y"] = images, np.ones(n)
    return str(path)


def build_dataset(folder):
    """The folder of a dataset with two events of each label in each split."""
    config = HggConfig(name="tiny", train=2, validation=2, produce=synthetic_tasks.produce)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        Builder(config=config, data_dir=folder, executor=executor).download_and_prepare()
    return str(folder / "cms_hgg" / "tiny")
