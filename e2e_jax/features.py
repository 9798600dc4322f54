"""The TFDS feature that stores detector hits and shows them as images.

Hits are a hundred times smaller than the images they make, so they are what lies on disk.
Without `decoders`, TFDS gives dense images; with `tfds.decode.SkipDecoding()` the hits themselves:

    hits = {"detector": tfds.decode.SkipDecoding()}
    source = tfds.data_source("cms_hgg/quick", split="train", decoders=hits)
    source[0]["detector"]["eb"]["energy"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.detector import geometry as cells
from e2e_jax.detector import images
from e2e_jax.sources.events import COLLECTIONS

MANTISSA_BITS = 12
"""Bits kept of the 23 of a float32 mantissa in energies, pt, eta and phi of the hits.

Rounds to 1.2e-4 of the value: far below the crystals' calibration (0.4 %), the tracks' momentum
resolution (1 %) and the 0.017 of a crystal in phi. The zeros left behind compress by a sixth."""


class DetectorImages(tfds.features.FeatureConnector):
    """Hits of `events.COLLECTIONS` on disk, images of one geometry when decoded.

    Decoded: `{"barrel": float32 [170, 360, channels]}` with the pixels of
    `detector.images.barrel_images`. Not decoded (`tfds.decode.SkipDecoding()`): `{"eb": {"cell":
    uint16 [hits], "energy": float32 [hits]}, "ee": ..., "hcal": ..., "tracks": {"pt", "eta", "phi"}}`.

    Args:
      geometry: one of `detector.images.GEOMETRIES`.
      channels: some of `detector.images.CHANNELS`, in the order wanted.
      doc: description of the feature for TFDS's documentation.

    Raises:
      ValueError: the geometry or a channel does not exist.
    """

    def __init__(
        self,
        *,
        geometry: str = "barrel",
        channels: Sequence[str] = images.CHANNELS,
        doc: tfds.features.feature.DocArg = None,
    ):
        super().__init__(doc=doc)
        if geometry not in _IMAGES:
            raise ValueError(f"No image geometry {geometry!r}; there is {', '.join(map(repr, _IMAGES))}.")
        unknown = [name for name in channels if name not in images.CHANNELS]
        if unknown:
            raise ValueError(f"No image channels {unknown}; there are {list(images.CHANNELS)}.")
        self._geometry = geometry
        self._channels = tuple(channels)

    def get_tensor_info(self) -> dict[str, tfds.features.TensorInfo]:
        """Shapes and types of the decoded images."""
        shape = (cells.EB_ROWS, cells.EB_COLUMNS, len(self._channels))
        return {self._geometry: tfds.features.TensorInfo(shape=shape, dtype=np.float32)}

    def get_serialized_info(self) -> dict[str, dict[str, tfds.features.TensorInfo]]:
        """Shapes and types of the hits as they are stored."""
        return {
            name: {
                column: tfds.features.TensorInfo(shape=(None,), dtype=dtype)
                for column, dtype in columns.items()
            }
            for name, columns in COLLECTIONS.items()
        }

    def encode_example(self, example_data: Mapping) -> dict[str, dict[str, np.ndarray]]:
        """The hits of one event as stored: floats rounded to `MANTISSA_BITS`.

        Args:
          example_data: the event's collections, as in `Events.examples()[i]["detector"]`.

        Raises:
          ValueError: a collection or a column is missing.
        """
        encoded = {}
        for name, columns in COLLECTIONS.items():
            given = example_data.get(name, {})
            if missing := [column for column in columns if column not in given]:
                raise ValueError(
                    f"The event's {name!r} hits lack {missing}; its collections are {sorted(example_data)}."
                )
            arrays = {column: np.asarray(given[column], dtype) for column, dtype in columns.items()}
            encoded[name] = {c: a if c == "cell" else round_mantissa(a) for c, a in arrays.items()}
        return encoded

    def decode_example_np(self, example_data: Mapping) -> dict[str, np.ndarray]:
        """The images of one event's hits, with numpy alone."""
        return {self._geometry: _IMAGES[self._geometry](example_data, self._channels)}

    def decode_example(self, tfexample_data: Mapping):
        """The images of one event's hits inside a `tf.data` pipeline."""
        import tensorflow as tf

        paths = [(name, column) for name, columns in COLLECTIONS.items() for column in columns]

        def draw(*columns):
            hits = {name: {} for name in COLLECTIONS}
            for (name, column), values in zip(paths, columns, strict=True):
                hits[name][column] = values
            return self.decode_example_np(hits)[self._geometry]

        inputs = [tfexample_data[name][column] for name, column in paths]
        image = tf.numpy_function(draw, inputs, tf.float32, stateful=False)
        return {self._geometry: tf.ensure_shape(image, self.get_tensor_info()[self._geometry].shape)}

    def to_json_content(self) -> dict:
        """What `from_json_content` needs to make this feature again."""
        return {"geometry": self._geometry, "channels": list(self._channels)}


def round_mantissa(values: np.ndarray, bits: int = MANTISSA_BITS) -> np.ndarray:
    """Rounds float32 values to the nearest with that many mantissa bits; infinities and NaN stay."""
    values = np.asarray(values, np.float32)
    dropped = np.uint32(np.finfo(np.float32).nmant - bits)
    pattern = values.view(np.uint32) + (np.uint32(1) << dropped >> np.uint32(1))
    rounded = (pattern >> dropped << dropped).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)


def _barrel(hits: Mapping, channels: Sequence[str]) -> np.ndarray:
    """The numpy twin of `detector.images.barrel_images` for one event: float32 `[170, 360, channels]`."""
    drawn = [_BARREL[channel](hits) for channel in channels]
    return np.stack(drawn, axis=-1)


def _tracks(hits: Mapping) -> np.ndarray:
    tracks = hits["tracks"]
    crystal = cells.barrel_cell(tracks["eta"], tracks["phi"])
    keep = (crystal >= 0) & (tracks["pt"] > 0)
    return _fill((cells.EB_ROWS, cells.EB_COLUMNS), crystal[keep], tracks["pt"][keep])


def _ecal(hits: Mapping) -> np.ndarray:
    keep = hits["eb"]["energy"] > 0
    return _fill((cells.EB_ROWS, cells.EB_COLUMNS), hits["eb"]["cell"][keep], hits["eb"]["energy"][keep])


def _hcal(hits: Mapping) -> np.ndarray:
    keep = hits["hcal"]["energy"] > 0
    tower = hits["hcal"]["cell"][keep].astype(np.int64) % cells.HCAL_TOWERS
    towers = _fill((cells.HCAL_ROWS, cells.HCAL_COLUMNS), tower, hits["hcal"]["energy"][keep])
    middle = cells.HCAL_ROWS // 2
    barrel = towers[middle - images.HCAL_BARREL_RINGS : middle + images.HCAL_BARREL_RINGS]
    crystals = cells.EB_COLUMNS // cells.HCAL_COLUMNS
    aligned = np.roll(barrel, images.HCAL_PHI_SHIFT, axis=1)
    return aligned.repeat(crystals, axis=0).repeat(crystals, axis=1)


def _fill(shape: tuple[int, int], cell: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(cell, values, minlength=shape[0] * shape[1]).astype(np.float32).reshape(shape)


_BARREL = {"tracks": _tracks, "ecal": _ecal, "hcal": _hcal}
_IMAGES = {"barrel": _barrel}
