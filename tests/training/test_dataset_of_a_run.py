"""A run with exchanged training and validation files is neither continued nor evaluated."""

import concurrent.futures
import json
import shutil

import pytest

from data_builders.cms_hgg.cms_hgg_dataset_builder import Builder
from e2e_jax.datasets.naming import HggConfig
from e2e_jax.datasets.preparation import DERIVED, METADATA
from e2e_jax.errors import DatasetError, WorkdirError
from e2e_jax.files import digests
from e2e_jax.runs.checkpoints import read_about
from e2e_jax.training import loop
from tests.synthetic import kinematics_config
from tests.synthetic_tasks import produce

SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of datasets with one of two splits of equal size."""
    data_dir = tmp_path_factory.mktemp("datasets")
    config = HggConfig(name="tiny", train=12, validation=12, produce=produce)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        Builder(config=config, data_dir=data_dir, executor=executor).download_and_prepare()
    return data_dir


def config_of(data_dir, epochs):
    config = kinematics_config(epochs=epochs)
    config.dataset.update(name="cms_hgg/tiny", data_dir=str(data_dir))
    return config


def exchange_splits(folder):
    """Each split gets the file of the other, as by two `mv`."""
    train, validation = (next(folder.glob(f"*-{split}.*")) for split in SPLITS)
    aside = train.with_name("aside")
    train.rename(aside), validation.rename(train), aside.rename(validation)


def exchange_with_digests(folder):
    """The same with the metadata of a dataset that was built so."""
    exchange_splits(folder)
    metadata = digests.read_sealed(folder / METADATA)
    files = {split: list(metadata["digests"][split]) for split in SPLITS}
    for names in ("digests", "fingerprints"):
        one, other = (metadata[names][split] for split in SPLITS)
        metadata[names] = dict(zip(SPLITS, (other, one)))
    metadata["digests"] = {
        split: dict(zip(files[split], metadata["digests"][split].values())) for split in SPLITS
    }
    (folder / METADATA).write_text(json.dumps(digests.sealed(metadata)))
    shutil.rmtree(folder / DERIVED, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("exchange", "error"), [(exchange_splits, DatasetError), (exchange_with_digests, WorkdirError)]
)
def test_exchanged_files_of_train_and_validation_are_refused(built, tmp_path, exchange, error):
    data_dir, run = tmp_path / "datasets", tmp_path / "run"
    shutil.copytree(built, data_dir)
    loop.train(config_of(data_dir, 1), run)
    before = read_about(run)
    (folder,) = (path.parent for path in data_dir.rglob("dataset_info.json"))
    exchange(folder)
    for again in (lambda: loop.train(config_of(data_dir, 2), run), lambda: loop.evaluate_run(run)):
        with pytest.raises(error):
            again()
    assert read_about(run) == before
