"""Numbers as a line of blocks, one character each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"
"""From the bottom to the top of a scale, whose middle lies between the fourth and the fifth."""

UNKNOWN = "·"
"""Where nothing was measured."""


def sparkline(values: Sequence[float | None], width: int, top: float) -> Text:
    """The last ``width`` values on a scale from 0 to ``top``.

    Those from its middle on have another colour; what lies above the top is drawn as the top, in a
    third.
    """
    line = Text()
    for value in values[-width:]:
        if value is None or not math.isfinite(value):
            line.append(UNKNOWN, style="dim")
            continue
        share = value / top if top > 0 else 0.0
        place = min(max(int(share * len(BLOCKS)), 0), len(BLOCKS) - 1)
        style = "cyan" if share < 0.5 else "yellow" if share <= 1 else "red"
        line.append(BLOCKS[place], style=style)
    return line
