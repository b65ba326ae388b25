"""GPUs whose makers say how fast they are, for plans of clusters where nothing was measured."""

from __future__ import annotations

import re

from jobs.device_speed import DeviceSpeed

ACHIEVED = 0.75
"""Of what the maker says of matrix products and memory, what programs get: on an H200, 51 of 67
Tflop/s and 4.3 of 4.8 TB/s were measured."""

LAUNCH = 1e-5
"""Seconds of a small operation, of any of them."""

CARDS = {
    "V100": (15.7, 7.8, 900),
    "T4": (8.1, 0.25, 320),
    "A100": (19.5, 9.7, 1555),
    "A10": (31.2, 0.49, 600),
    "A40": (37.4, 0.58, 696),
    "RTX A6000": (38.7, 0.60, 768),
    "RTX 3090": (35.6, 0.56, 936),
    "RTX 4090": (82.6, 1.3, 1008),
    "L4": (30.3, 0.47, 300),
    "L40S": (91.6, 1.4, 864),
    "H100 PCIe": (51.0, 26.0, 2000),
    "H100": (67.0, 34.0, 3350),
    "H200": (67.0, 34.0, 4800),
    "B200": (75.0, 37.0, 8000),
}
"""Tflop/s in float32 and in float64 without tensor cores, and GB/s, by a part of the name."""


def known_card(name: str) -> DeviceSpeed | None:
    """The speed of a GPU by its name, as its driver or a shop gives it.

    >>> known_card("NVIDIA A100-SXM4-80GB").nbytes
    1166250000000.0
    >>> known_card("Voodoo 2")
    """
    found = [card for card in CARDS if re.search(rf"(?<!\w){card}(?![A-Za-z0-9])", name, re.I)]
    if not found:
        return None
    single, double, bandwidth = CARDS[max(found, key=len)]
    flops = {"float32": single * 1e12 * ACHIEVED, "float64": double * 1e12 * ACHIEVED}
    return DeviceSpeed(LAUNCH, flops, bandwidth * 1e9 * ACHIEVED)
