"""The TFDS feature that stores detector hits and decodes them to images.

Hits are stored because they are a hundred times smaller than the images.
By default TFDS returns dense images; with `tfds.decode.SkipDecoding()` it returns the hits:

    hits = {"detector": tfds.decode.SkipDecoding()}
    source = tfds.data_source("cms_hgg/quick", split="train", decoders=hits)
    source[0]["detector"]["eb"]["energy"]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.detector import images, pixels
from e2e_jax.events.base import Record, column_type
from e2e_jax.events.diphotons import COLLECTIONS
from e2e_jax.events.jets import Jets

MANTISSA_BITS = 12
"""Bits kept of the 23 mantissa bits (float32) of energies, pt, eta and phi of the hits.

The relative rounding error is 1.2e-4: far below the calibration of the crystals (0.4 %), the momentum
resolution of the tracks (1 %) and the size of a crystal in phi (0.017). Files are a sixth smaller."""


def stored_collections(collections: Mapping[str, Mapping]) -> dict:
    """Shapes and types of collections as stored. The argument has the form of `Record.COLLECTIONS`."""
    return {
        name: {
            column: tfds.features.TensorInfo(shape=(None, *shape), dtype=dtype)
            for column, (dtype, shape) in ((c, column_type(t)) for c, t in columns.items())
        }
        for name, columns in collections.items()
    }


def stored(record: type[Record], observables: Iterable[str]) -> dict:
    """Shapes and types of an example as stored, for TFDS's parser.

    They are defined in the code and not read from the dataset's features.json, which may name any Python
    class.
    """
    info = tfds.features.TensorInfo
    scalars = {name: info(shape=(), dtype=dtype) for name, dtype in record.SCALARS.items()}
    tensors = {name: info(shape=shape, dtype=dtype) for name, (shape, dtype) in record.TENSORS.items()}
    numbers = {name: info(shape=(), dtype=np.float32) for name in observables}
    objects = stored_collections(record.OBJECTS)
    return {**scalars, **numbers, **tensors, **objects, "detector": stored_collections(record.COLLECTIONS)}


class Hits(tfds.features.FeatureConnector):
    """Collections of hits on disk; a subclass defines the collections and the decoded images.

    Attributes:
      COLLECTIONS: name -> column -> type, as in `Record.COLLECTIONS`.
    """

    COLLECTIONS: ClassVar[Mapping[str, Mapping]]

    def get_serialized_info(self) -> dict[str, dict[str, tfds.features.TensorInfo]]:
        """Shapes and types of the hits as stored."""
        return stored_collections(self.COLLECTIONS)

    def encode_example(self, example_data: Mapping) -> dict[str, dict[str, np.ndarray]]:
        """The hits of one event as stored: floats rounded to `MANTISSA_BITS`.

        Args:
          example_data: the collections of the event, as in `Events.examples()[i]["detector"]`.

        Raises:
          ValueError: a collection or a column is missing.
        """
        encoded = {}
        for name, columns in self.COLLECTIONS.items():
            given = example_data.get(name, {})
            if missing := [column for column in columns if column not in given]:
                raise ValueError(
                    f"The event's {name!r} hits lack {missing}; its collections are {sorted(example_data)}."
                )
            arrays = {column: np.asarray(given[column], column_type(t)[0]) for column, t in columns.items()}
            encoded[name] = {c: round_mantissa(a) if a.dtype.kind == "f" else a for c, a in arrays.items()}
        return encoded

    def decode_example(self, tfexample_data: Mapping):
        """The images of one event's hits inside a `tf.data` pipeline."""
        import tensorflow as tf

        paths = [(name, column) for name, columns in self.COLLECTIONS.items() for column in columns]

        def draw(*columns):
            hits = {name: {} for name in self.COLLECTIONS}
            for (name, column), values in zip(paths, columns, strict=True):
                hits[name][column] = values
            return list(self.decode_example_np(hits).values())

        inputs = [tfexample_data[name][column] for name, column in paths]
        info = self.get_tensor_info()
        drawn = tf.numpy_function(draw, inputs, [tf.float32] * len(info), stateful=False)
        return {
            name: tf.ensure_shape(image, info[name].shape) for name, image in zip(info, drawn, strict=True)
        }


class DetectorImages(Hits):
    """Hits of `diphotons.COLLECTIONS` on disk, images of one geometry when decoded.

    Decoded: the images of `detector.images.make_images`, for "barrel" `{"barrel": float32 [170, 360,
    channels]}`. Not decoded (`tfds.decode.SkipDecoding()`): `{"eb": {"cell": uint16 [hits], "energy":
    float32 [hits]}, "ee": ..., "hcal": ..., "tracks": {"pt", "eta", "phi"}}`.

    Args:
      geometry: name of a geometry, such as "barrel".
      channels: a subset of `detector.images.CHANNELS`, in the desired order.
      doc: description of the feature for TFDS's documentation.

    Raises:
      ValueError: the geometry or a channel does not exist.
    """

    COLLECTIONS = COLLECTIONS

    def __init__(
        self,
        *,
        geometry: str = "barrel",
        channels: Sequence[str] = images.CHANNELS,
        doc: tfds.features.feature.DocArg = None,
    ):
        super().__init__(doc=doc)
        for canvas in images.canvases(geometry):
            self._channels = images.checked_channels(channels, canvas)
        self._geometry = geometry

    def get_tensor_info(self) -> dict[str, tfds.features.TensorInfo]:
        """Shapes and types of the decoded images."""
        return {
            name: tfds.features.TensorInfo(shape=(*shape, len(self._channels)), dtype=np.float32)
            for name, shape in images.shapes(self._geometry).items()
        }

    def decode_example_np(self, example_data: Mapping) -> dict[str, np.ndarray]:
        """The images of the hits of one event, made with numpy only."""
        drawn = {}
        for canvas in images.canvases(self._geometry):
            parts = np.split(pixels.draw_event(example_data, canvas, self._channels), len(canvas.images))
            drawn |= dict(zip(canvas.images, parts))
        return drawn

    def to_json_content(self) -> dict:
        """The arguments from which `from_json_content` restores this feature."""
        return {"geometry": self._geometry, "channels": list(self._channels)}


class JetImages(DetectorImages):
    """Hits of `jets.COLLECTIONS` on disk, the image of each jet when decoded.

    Decoded: `{"jet": float32 [125, 125, channels]}`. Not decoded (`tfds.decode.SkipDecoding()`): `{"pixels":
    {"cell": uint16 [hits], "channel": uint8 [hits], "value": float32 [hits]}, "towers": ...}`.

    Args:
      geometry: "jet".
      channels: a subset of `jet_pixels.CHANNELS`, in the desired order.
      doc: description of the feature for TFDS's documentation.

    Raises:
      ValueError: a channel does not exist.
    """

    COLLECTIONS = Jets.COLLECTIONS

    def __init__(
        self,
        *,
        geometry: str = "jet",
        channels: Sequence[str] = images.CHANNELS,
        doc: tfds.features.feature.DocArg = None,
    ):
        super().__init__(geometry=geometry, channels=channels, doc=doc)


def round_mantissa(values: np.ndarray, bits: int = MANTISSA_BITS) -> np.ndarray:
    """Round float32 values to the nearest finite value with `bits` mantissa bits; keep NaN and infinity."""
    values = np.asarray(values, np.float32)
    dropped = np.uint32(np.finfo(np.float32).nmant - bits)
    pattern = values.view(np.uint32) + (np.uint32(1) << dropped >> np.uint32(1))
    rounded = (pattern >> dropped << dropped).view(np.float32)
    # The largest finite numbers would otherwise round up to infinity.
    return np.where(np.isfinite(values) & np.isfinite(rounded), rounded, values)
