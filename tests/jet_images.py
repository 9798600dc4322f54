"""Images of jets as the public files have them, and these files, written in their layout."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2e_jax.detector import jet_pixels
from e2e_jax.events.jets import Jets

SIDE = 125


def images_of(n, channels=3, seed=0):
    """Images `[n, channels, 125, 125]` of some pixels; the third channel is made of blocks, as the HCAL's."""
    random = np.random.default_rng(seed)
    images = np.zeros((n, channels, SIDE * SIDE))
    for image in images:
        for channel in image:
            channel[random.choice(SIDE * SIDE, 40, replace=False)] = random.exponential(1, 40)
    images = images.reshape(n, channels, SIDE, SIDE)
    towers = random.exponential(1, (n, 25, 25)) * (random.random((n, 25, 25)) < 0.05)
    images[:, 2] = towers.repeat(5, axis=1).repeat(5, axis=2)
    return images


def columns_of(n, seed=0):
    """`pt`, `m0` and `y` of some jets, the labels in turn."""
    random = np.random.default_rng(seed)
    return {"pt": random.uniform(70, 200, n), "m0": random.uniform(5, 40, n), "y": np.arange(n) % 2.0}


def write_parquet(path, images, columns, rows=1, kind=None, image="X_jets"):
    """A Parquet file with `rows` jets in each row group; in the public files one, and numbers are doubles."""
    kind = pa.list_(pa.list_(pa.list_(kind or pa.float64())))
    arrays = {image: pa.array([one.tolist() for one in images], kind)}
    arrays |= {name: pa.array(values) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path, row_group_size=rows, compression="snappy")
    return path


def write_hdf5(path, images, columns, image="X_jets", **options):
    """An HDF5 file, whose images have the channels last."""
    with h5py.File(path, "w") as file:
        file.create_dataset(image, data=np.moveaxis(np.float32(images), 1, -1), **options)
        for name, values in columns.items():
            file[name] = np.float32(values)
    return path


def jets_of(n, channels=("tracks", "ecal", "hcal"), seed=0):
    """Jets in memory; those of label 1 are brighter."""
    given, columns = images_of(n, len(channels), seed), columns_of(n, seed)
    given[1::2] *= 3
    numbers = [jet_pixels.CHANNELS.index(name) for name in channels]
    observables = {name: columns[name] for name in ("pt", "m0")}
    return Jets.from_images(given, numbers, 1, np.arange(n), columns["y"], observables)
