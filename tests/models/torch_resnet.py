"""ResNet-15 in PyTorch, written from the paper's description, and the conversion of our parameters."""

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride != 1 else nn.Identity()

    def forward(self, x):
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + self.shortcut(x))


class TorchFeatures(nn.Module):
    """Images [n, channels, rows, columns] -> the maximum of each last map [n, 32]; names as in our module."""

    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 7, 2, 1)
        for i in range(3):
            setattr(self, f"narrow{i}", Block(16, 16, 1))
            setattr(self, f"wide{i}", Block(32, 32, 1))
        self.downsample = Block(16, 32, 2)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 2)
        for name in ("narrow0", "narrow1", "narrow2", "downsample", "wide0", "wide1", "wide2"):
            x = getattr(self, name)(x)
        return x.amax((2, 3))


class TorchResNet15(TorchFeatures):
    """Images [n, channels, rows, columns] -> logits [n, classes]."""

    def __init__(self, channels, classes=3):
        super().__init__(channels)
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        return self.head(super().forward(x))


class TorchConcatenated(nn.Module):
    """{image: [n, channels, rows, columns]} -> logits [n, classes]: a network an image, and a joint head."""

    def __init__(self, images, channels, classes=3, width=128, dropout=0.2):
        super().__init__()
        self.images = images
        for name in images:
            setattr(self, f"features_{name}", TorchFeatures(channels))
        self.hidden0 = nn.Linear(32 * len(images), width)
        self.hidden1 = nn.Linear(width, width)
        self.hidden2 = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs):
        x = torch.cat([getattr(self, f"features_{name}")(inputs[name]) for name in self.images], dim=1)
        for layer in (self.hidden0, self.hidden1, self.hidden2):
            x = self.dropout(torch.relu(layer(x)))
        return self.head(x)


def to_torch_name(path):
    """("features", "wide0", "conv1", "kernel") -> "wide0.conv1.weight"."""
    names = [name for name in path if name != "features"]
    return ".".join([*names[:-1], "weight" if names[-1] == "kernel" else "bias"])


def to_torch_layout(value):
    """[kh, kw, in, out] -> [out, in, kh, kw]; [in, out] -> [out, in]; biases as they are."""
    value = np.asarray(value)
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
