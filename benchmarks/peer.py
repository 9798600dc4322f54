"""The common approach as a reference: images in lzf-compressed HDF5, a DataLoader, ResNet-15 in PyTorch.

The file holds the normalized input images, one chunk per event. The DataLoader shuffles all classes together.
On a GPU the network is compiled and its batches are pinned.
"""

import contextlib

import h5py
import torch

from tests.models.torch_resnet import TorchResNet15


def write_images(path, events, config):
    """Writes the barrel's images of events, float32 [events, rows, columns, channels], and their labels."""
    import jax

    from e2e_jax.inference.prediction import padded_batches
    from e2e_jax.models import preprocessing

    make = jax.jit(lambda batch: preprocessing.model_inputs(batch, config.inputs)["barrel"])
    with h5py.File(path, "w") as file:
        images = None
        for batch, rows in padded_batches(events, 64):
            part = jax.device_get(make(batch))[: len(rows)]
            if images is None:
                shape = (len(events), *part.shape[1:])
                images = file.create_dataset("images", shape, "f4", chunks=(1, *shape[1:]), compression="lzf")
            for row, image in zip(rows, part):
                images[row] = image
        file["label"] = events.label


class Images(torch.utils.data.Dataset):
    """The events of a file: (image [channels, rows, columns], label)."""

    def __init__(self, path):
        self.path, self.images = path, None
        with h5py.File(path) as file:
            self.labels = file["label"][:].tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, event):
        if self.images is None:  # opened by each worker for itself
            self.images = h5py.File(self.path)["images"]
        return torch.from_numpy(self.images[event]).permute(2, 0, 1), self.labels[event]


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def loader(path, batch, workers):
    """Shuffled batches of the file, prepared by worker processes; those stay from one epoch to the next."""
    return torch.utils.data.DataLoader(
        Images(path),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,  # JAX's threads do not survive a fork
        pin_memory=device().type == "cuda",
    )


def on_device(batches):
    """The batches on the device, channels last."""
    for images, labels in batches:
        images = images.to(device(), non_blocking=True, memory_format=torch.channels_last)
        yield images, labels.to(device(), non_blocking=True)


def wait():
    if device().type == "cuda":
        torch.cuda.synchronize()


def classifier(channels, precision="float32", compiled=None):
    """ResNet-15 on the device, and the function images -> logits that computes with it.

    Args:
      channels: of the images.
      precision: "float32"; "tf32", which counts on a GPU; or "bfloat16", by automatic mixed precision.
      compiled: whether `torch.compile` makes the function; by default on a GPU.
    """
    model = TorchResNet15(channels).to(device(), memory_format=torch.channels_last)
    compiled = device().type == "cuda" if compiled is None else compiled
    network = torch.compile(model) if compiled else model

    def logits(images):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
        mixed = torch.autocast(device().type, torch.bfloat16) if precision == "bfloat16" else None
        with mixed or contextlib.nullcontext():
            return network(images).float()

    return model, logits


def training(channels, learning_rate, precision="float32", compiled=None):
    """A function that takes a training step on a batch; its arguments are those of `classifier` and Adam."""
    model, logits = classifier(channels, precision, compiled)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate, fused=device().type == "cuda")

    def step(images, labels):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits(images), labels).backward()
        optimizer.step()

    return step
