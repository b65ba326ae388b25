"""In words what a column does not decide, and why; empty texts where it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.bounds import KINK, LEAST_FOR_LINE, LEAST_FOR_RISE, LEAST_FOR_SPREAD
from orchestrator.analysis.grouped import Codes, Flags, Numbers
from orchestrator.analysis.kink import LEAST_FOR_KINK

Texts = NDArray[np.object_]
"""A text per place, of shape (places,)."""

Rule = tuple[Flags, Callable[[int], str]]
"""The places at which something is the reason, and what is said of one of them."""


def of_kink(
    transition: Numbers,
    predicted: Numbers,
    n_flat: Codes,
    n_edge: Codes,
    reach: Numbers,
    counts: Mapping[str, Codes],
) -> Texts:
    """Why it is not known whether S bends; ``reach`` is the largest η over the predicted η_c."""
    n_by_chance = counts["n_chance_crossing"]
    is_few, few_above = few("η_c", n_edge, "included above the predicted one", LEAST_FOR_KINK - 1)

    def above(i: int) -> str:
        by_chance = f" ({n_by_chance[i]} came to ε by chance)" if n_by_chance[i] else ""
        return f"{few_above(i)}{by_chance}"

    def ends(i: int) -> str:
        rates = f"the rates end at {reach[i]:.3g} of the predicted one, {KINK[1]:g} are needed"
        return f"η_c: S shows none, and {rates}"

    rules: list[Rule] = [
        few("η_c", counts["n_included"], "included", LEAST_FOR_KINK),
        (np.isnan(predicted), lambda i: "η_c: the flow predicts none, and S shows none"),
        (is_few, above),
        few("η_c", n_flat, "included below the predicted one", 1),
        (reach < KINK[1], ends),
        (reach >= KINK[1], lambda i: "η_c: S falls, but its scatter leaves open where that begins"),
    ]
    return first_reasons(np.isnan(transition), rules)


def of_regimes(critical: Numbers, n_flat: Codes, n_edge: Codes, reach: Numbers) -> list[Texts]:
    """Why the sharpness below and above η_c is not described."""

    def ends(i: int) -> str:
        return f"S above η_c: the rates end at {reach[i]:.3g} of it, {KINK[1]:g} are needed"

    below = few("S below η_c", n_flat, "included there", LEAST_FOR_SPREAD)
    above = few("S above η_c", n_edge, "included there", LEAST_FOR_LINE)
    known = np.isfinite(critical)
    return [first_reasons(known, [below]), first_reasons(known, [above, (reach < KINK[1], ends)])]


def of_rise(rises: Numbers, chance: Numbers, n_growing: Codes, critical: Numbers) -> Texts:
    """Why it is not known whether ‖θ‖₁ rises above η_c."""

    def by_chance(i: int) -> str:
        rise = f"{n_growing[i]} rates rise as much by chance with probability {chance[i]:.2g}"
        return f"ℓ1 above η_c: {rise}"

    is_few, say = few("ℓ1 above η_c", n_growing, "included there with a norm", LEAST_FOR_RISE)
    open_ = np.isnan(rises) & np.isfinite(critical)
    return first_reasons(open_, [(is_few, say), (~is_few, by_chance)])


def first_reasons(open_: Flags, rules: Sequence[Rule]) -> Texts:
    """What the first rule that applies says of each place that is open, empty texts elsewhere."""
    found, left = np.full(len(open_), "", dtype=object), open_
    for which, say in rules:
        for place in np.flatnonzero(left & which).tolist():
            found[place] = say(place)
        left = left & ~which
    return found


def joined(reasons: Sequence[Texts]) -> list[str | None]:
    """The reasons of each place as one text, None where there is none."""
    return ["; ".join(filter(None, each)) or None for each in zip(*reasons, strict=True)]


def few(what: str, n: Codes, state: str, least: int) -> Rule:
    """Where there are too few rates, such as ``η_c: 2 rates included, 3 are needed``."""

    def say(i: int) -> str:
        have = f"{n[i] or 'no'} {'rate' if n[i] == 1 else 'rates'} {state}"
        return f"{what}: {have}, {least} {'is' if least == 1 else 'are'} needed"

    return n < least, say
