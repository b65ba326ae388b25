"""CIFAR-10 as the published experiments use it, from the official binary files in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RECORD = 1 + 3 * 32 * 32


def read(folder: Path, samples: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The first training images, shape (samples, 3072), and their labels, shape (samples,).

    Each pixel and channel is standardised over these images (Cohen et al. 2021 standardise over all
    50,000).
    """
    pixels, labels = [], []
    for path in sorted(folder.glob("data_batch_*.bin")):
        records = np.fromfile(path, dtype=np.uint8).reshape(-1, RECORD)
        labels.append(records[:, 0])
        pixels.append(records[:, 1:])
    if sum(map(len, labels)) < samples:
        raise SystemExit(f"{folder} holds {sum(map(len, labels))} training images; need {samples}")
    inputs = np.concatenate(pixels)[:samples] / 255.0
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    chosen = np.concatenate(labels)[:samples].astype(np.int64)
    return torch.from_numpy(inputs).to(dtype), torch.from_numpy(chosen)
