"""``fashion-mnist``: 60,000 and 10,000 pictures of clothes of 28×28 pixels, in files as MNIST's."""

from __future__ import annotations

from jobs.datasets.idx_images import IdxImages
from jobs.datasets.normalization import Constants

CONSTANTS: dict[str, Constants] = {
    "scalar": ((0.2860,), (0.3530,)),
    "channel": ((0.2860,), (0.3530,)),
}
"""Over all pixels of the official training images, as everybody rounds them."""


def source(train: int, test: int, digest: str | None = None) -> IdxImages:
    """Its first ``train`` training and ``test`` test images, all classes being equally large."""
    return IdxImages(
        "fashion-mnist", train, test, digest, published=CONSTANTS, smallest_class=6_000
    )
