"""In words what a column does not decide, and why; empty texts where it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.bounds import KINK, LEAST_FOR_LINE, LEAST_FOR_RISE, LEAST_FOR_SPREAD
from orchestrator.analysis.grouped import Codes, Flags, Numbers
from orchestrator.analysis.kink import LEAST_FOR_KINK

Texts = NDArray[np.object_]
"""A text per place, of shape (places,)."""


def of_kink(
    transition: Numbers,
    n_included: Codes,
    predicted: Numbers,
    n_flat: Codes,
    n_edge: Codes,
    reach: Numbers,
    n_by_chance: Codes,
) -> list[Texts]:
    """Why it is not known whether S bends; ``reach`` is the largest η over the predicted η_c."""
    open_ = np.isnan(transition)
    few = open_ & (n_included < LEAST_FOR_KINK)
    blind = open_ & ~few & np.isnan(predicted)
    above = open_ & ~few & ~blind & (n_edge < LEAST_FOR_KINK - 1)
    below = open_ & ~few & ~blind & ~above & (n_flat < 1)
    seen = open_ & ~few & ~blind & ~above & ~below
    short = seen & (reach < KINK[1])
    ends = texts(len(short))
    for place in np.flatnonzero(short).tolist():
        ends[place] = (
            f"η_c: S shows none, and the rates end at {reach[place]:.3g} of the predicted one, "
            f"{KINK[1]:g} are needed"
        )
    too_few_above = _counted(
        above, "η_c", n_edge, "included above the predicted one", LEAST_FOR_KINK - 1
    )
    for place in np.flatnonzero(above & (n_by_chance > 0)).tolist():
        too_few_above[place] += f" ({n_by_chance[place]} came to ε by chance)"
    return [
        _counted(few, "η_c", n_included, "included", LEAST_FOR_KINK),
        _text(blind, "η_c: the flow predicts none, and S shows none"),
        too_few_above,
        _counted(below, "η_c", n_flat, "included below the predicted one", 1),
        ends,
        _text(seen & ~short, "η_c: S falls, but its scatter leaves open where that begins"),
    ]


def of_regimes(critical: Numbers, n_flat: Codes, n_edge: Codes, reach: Numbers) -> list[Texts]:
    """Why the sharpness below and above η_c is not described."""
    known = np.isfinite(critical)
    flat, edge = known & (n_flat < LEAST_FOR_SPREAD), known & (n_edge < LEAST_FOR_LINE)
    ends = texts(len(critical))
    for place in np.flatnonzero(known & ~edge & (reach < KINK[1])).tolist():
        ends[place] = (
            f"S above η_c: the rates end at {reach[place]:.3g} of it, {KINK[1]:g} are needed"
        )
    return [
        _counted(flat, "S below η_c", n_flat, "included there", LEAST_FOR_SPREAD),
        _counted(edge, "S above η_c", n_edge, "included there", LEAST_FOR_LINE),
        ends,
    ]


def of_rise(rises: Numbers, chance: Numbers, n_growing: Codes, critical: Numbers) -> list[Texts]:
    """Why it is not known whether ‖θ‖₁ rises above η_c."""
    open_ = np.isnan(rises) & np.isfinite(critical)
    few = open_ & (n_growing < LEAST_FOR_RISE)
    found = _counted(few, "ℓ1 above η_c", n_growing, "included there with a norm", LEAST_FOR_RISE)
    for place in np.flatnonzero(open_ & ~few).tolist():
        found[place] = (
            f"ℓ1 above η_c: {n_growing[place]} rates rise as much by chance "
            f"with probability {chance[place]:.2g}"
        )
    return [found]


def joined(reasons: Sequence[Texts]) -> list[str | None]:
    """The reasons of each place as one text, None where there is none."""
    return ["; ".join(filter(None, each)) or None for each in zip(*reasons, strict=True)]


def texts(length: int) -> Texts:
    """As many empty texts."""
    return np.full(length, "", dtype=object)


def _text(which: Flags, text: str) -> Texts:
    found = texts(len(which))
    found[which] = text
    return found


def _counted(which: Flags, what: str, n: Codes, state: str, least: int) -> Texts:
    found = texts(len(which))
    for count in np.unique(n[which]).tolist():
        found[which & (n == count)] = few_rates(what, count, state, least)
    return found


def few_rates(what: str, count: int, state: str, least: int) -> str:
    """Such as ``η_c: 2 rates included, 3 are needed``."""
    have = f"{count or 'no'} {'rate' if count == 1 else 'rates'} {state}"
    return f"{what}: {have}, {least} {'is' if least == 1 else 'are'} needed"
