"""``mnist``: 60,000 and 10,000 handwritten digits of 28×28 pixels, in the official IDX files."""

from __future__ import annotations

from jobs.datasets.idx_images import IdxImages
from jobs.datasets.normalization import Constants

CONSTANTS: dict[str, Constants] = {
    "scalar": ((0.1307,), (0.3081,)),
    "channel": ((0.1307,), (0.3081,)),
}
"""Over all pixels of the official training images, as everybody rounds them."""


def source(train: int, test: int, digest: str | None = None) -> IdxImages:
    """Its first ``train`` training and ``test`` test images; the rarest digit, 5, is there 5,421
    times."""
    return IdxImages("mnist", train, test, digest, published=CONSTANTS, smallest_class=5_421)
