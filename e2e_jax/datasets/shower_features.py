"""The TFDS feature that stores the crystals of showers and decodes them to images.

By default TFDS returns dense images; with `tfds.decode.SkipDecoding()` it returns the hits:

    hits = {"detector": tfds.decode.SkipDecoding()}
    source = tfds.data_source("ecal_showers/crops_quick", split="train", decoders=hits)
    source[0]["detector"]["crystals"]["energy"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds

from e2e_jax.datasets.features import Hits
from e2e_jax.detector import crops
from e2e_jax.events.showers import COLLECTIONS


class ShowerImages(Hits):
    """Crystals and digis of `showers.COLLECTIONS` on disk, images of one view when decoded.

    Decoded: `{"crop": float32 [32, 32, channels]}` or `{"barrel": float32 [170, 360, channels]}`, see
    `shower_images.shower_images`; with digis also `"digis": float32 [10, 32, 32]`, see
    `shower_images.digi_images`. Not decoded (`tfds.decode.SkipDecoding()`): `{"crystals": {"cell": uint16
    [hits], "energy": float32 [hits], "time": float32 [hits]}, "digis": {"cell": uint16 [digis], "samples":
    uint16 [digis, 10]}}`.

    Args:
      view: key of `crops.SHAPES`; the cells are indices in this view.
      channels: a subset of `crops.CHANNELS`, in the desired order.
      digis: whether the dataset has digis.
      doc: description of the feature for TFDS's documentation.

    Raises:
      ValueError: the view or a channel does not exist, or digis are requested for a barrel.
    """

    COLLECTIONS = COLLECTIONS

    def __init__(
        self,
        *,
        view: str = "crop",
        channels: Sequence[str] = crops.CHANNELS,
        digis: bool = False,
        doc: tfds.features.feature.DocArg = None,
    ):
        super().__init__(doc=doc)
        self._view, self._channels, self._digis = view, crops.check_view(view, channels), digis
        if digis and view != "crop":
            raise ValueError(f"There are images of digis for the view 'crop' only, not for {view!r}.")

    def get_tensor_info(self) -> dict[str, tfds.features.TensorInfo]:
        """Shapes and types of the decoded images."""
        shapes = {self._view: (*crops.SHAPES[self._view], len(self._channels))}
        if self._digis:
            shapes["digis"] = (crops.SAMPLES, crops.SIDE, crops.SIDE)
        return {name: tfds.features.TensorInfo(shape=s, dtype=np.float32) for name, s in shapes.items()}

    def decode_example_np(self, example_data: Mapping) -> dict[str, np.ndarray]:
        """The images of one shower, made with numpy only."""
        hits, shape = example_data["crystals"], crops.SHAPES[self._view]
        shown = hits["energy"] > 0
        cell = hits["cell"][shown].astype(np.int64)
        image = np.zeros((shape[0] * shape[1], len(self._channels)), np.float32)
        np.add.at(image, cell, np.stack([hits[name][shown] for name in self._channels], axis=-1))
        decoded = {self._view: image.reshape(*shape, -1)}
        if self._digis:
            digis = example_data["digis"]
            energy = (digis["samples"].astype(np.float32) - crops.PEDESTAL) * crops.GEV_PER_COUNT
            flat = np.zeros((crops.SAMPLES, crops.SIDE**2), np.float32)
            flat[:, digis["cell"].astype(np.int64)] = energy.T
            decoded["digis"] = flat.reshape(crops.SAMPLES, crops.SIDE, crops.SIDE)
        return decoded

    def to_json_content(self) -> dict:
        """The arguments from which `from_json_content` restores this feature."""
        return {"view": self._view, "channels": list(self._channels), "digis": self._digis}
