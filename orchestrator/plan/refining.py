"""Learning rates that a column finds by itself: which ones its settled trials call for next.

Rates come in rounds. Those of the next round are a function of what the trials of all rounds before
found at the smallest ε, and of nothing else, so that a resumed run asks for the same ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from jobs.records import OFF_THE_EDGE
from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.states import Codes, Result, State
from orchestrator.sweep import Refine

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DIGITS = 6
"""Significant digits of a multiple that a round asks for."""

SAME = 1e-4
"""Rates closer than this, in log η, are one."""

A_ROUND = 4
"""Rates that the kink asks for in one round: a quarter below it, the others above."""

FOR_SCATTER = 16
"""Rates from which on the interval of the kink says how many more it would take: it narrows with
the root of their number."""

BELOW, ABOVE = (0.55, 0.93), (1.07, 2.0)
"""In units of the kink: where further rates tell most of it. Nearer, a trial may belong to either
regime; further above, GD scatters more."""


@dataclass(frozen=True)
class Found:
    """What the GD trials of a column found at its smallest ε, in any order; shape (rates,).

    ``multiple`` is η in units that the column's rates are given in. ``sharpness`` and ``test_loss``
    are NaN where ε was not reached or they are not known.
    """

    multiple: Floats
    eta: Floats
    diverged: Flags
    reached: Flags
    sharpness: Floats
    test_loss: Floats

    @property
    def ascending(self) -> Found:
        """The same in ascending η."""
        order = np.argsort(self.multiple, kind="stable")
        return Found(*(values[order] for values in vars(self).values()))


@dataclass(frozen=True)
class Precision:
    """How precisely something is known: its bounds in multiples, and ``reason`` where it is not as
    precise as was asked for and no further rate would help.
    """

    low: float = math.nan
    high: float = math.nan
    met: bool = False
    reason: str = ""

    @property
    def said(self) -> str:
        """The bounds in words; empty where nothing was asked for."""
        known = [f"from {self.low:.4g}", f"to {self.high:.4g}"]
        ends = [text for text, end in zip(known, (self.low, self.high), strict=True) if end > 0]
        return " ".join([*ends, f"({self.reason})" if self.reason else ""]).strip()


@dataclass(frozen=True)
class Refinement:
    """What is known of a column after some rounds, and the multiples of the next one.

    Without any, the refinement has ended: everything is as precise as was asked for, or has a
    reason.
    """

    kink: Precision
    divergence: Precision
    valley: Precision
    following: tuple[float, ...]

    @property
    def said(self) -> str:
        """What is known, in words, and why something is not as precise as was asked for."""
        parts = [
            ("η_c fitted", self.kink),
            ("divergence", self.divergence),
            ("least test loss", self.valley),
        ]
        return "; ".join(f"{name} {one.said}" for name, one in parts if one.said)


def found_of(
    plan: ColumnPlan,
    states: Codes,
    results: Codes,
    reached: Flags,
    sharpness: Floats,
    test_loss: Floats,
) -> Found | None:
    """What a column that refines its rates has found; None while a round is under way, or where it
    has no rates.

    Args:
        plan: of the column.
        states, results, reached, sharpness, test_loss: of its trials, by their places.
    """
    known = slice(1, 1 + plan.n_rates)
    if plan.column.refine is None or plan.flow is None or plan.blocked:
        return None
    if not np.isin(states[known], (State.SETTLED, State.SKIPPED)).all():
        return None
    at = np.flatnonzero(results[known] != Result.NONE)
    etas = np.array(list(plan.learning_rates))
    return Found(
        multiple=etas[at] / plan.scale(plan.unit),
        eta=etas[at],
        diverged=(results[known] == Result.DIVERGED)[at],
        reached=reached[known][at],
        sharpness=sharpness[known][at],
        test_loss=test_loss[known][at],
    )


def refined(found: Found, asked: Refine, used: int) -> Refinement:
    """What the trials of complete rounds say, and which rates they call for next.

    Args:
        found: the trials so far, by the file's own rates and those of earlier rounds.
        asked: to what precision.
        used: the rates of earlier rounds.
    """
    found, left = found.ascending, asked.most - used
    kink, at_kink = _kink(found, asked.kink, left)
    divergence, at_end = _divergence(found, asked.divergence)
    valley, at_best = _valley(found, asked.valley, divergence)
    following = new_multiples([*at_end, *at_best, *at_kink], found)
    if following and left <= 0:
        used_up = f"all {asked.most} further rates are used"
        kink, divergence, valley = (
            one if one.met or one.reason else replace(one, reason=used_up)
            for one in (kink, divergence, valley)
        )
    return Refinement(kink, divergence, valley, tuple(sorted(following[: max(left, 0)])))


def _kink(found: Found, asked: float | None, left: int) -> tuple[Precision, list[float]]:
    """The 95 % interval of the fitted η_c, and rates on both sides of it."""
    if asked is None:
        return Precision(met=True), []
    # With all of the analysis, for which a worker would wait at its start.
    from orchestrator.analysis.kink import fitted_kinks

    with np.errstate(invalid="ignore"):
        at_edge = found.sharpness * found.eta / 2
        counts = found.reached & (found.sharpness > 0) & (at_edge <= OFF_THE_EDGE)
    multiple = found.multiple[counts]
    # In its own unit η·S has another factor, which moves neither the kink nor its interval.
    kinks = fitted_kinks(
        multiple, found.sharpness[counts], np.zeros(len(multiple), dtype=np.int64), 1
    )
    kink, low, high = (float(values[0]) for values in (kinks.eta_c, kinks.low, kinks.high))
    if not math.isfinite(kink):
        return Precision(reason="S shows no transition from constant to 2/η"), []
    known = Precision(low, high, met=math.isfinite(low) and math.log(high / low) / 2 <= asked)
    if known.met:
        return known, []
    more = len(multiple) * ((math.log(high / low) / 2 / asked) ** 2 - 1) if low > 0 else 0.0
    if len(multiple) >= FOR_SCATTER and more > left:
        said = f"S scatters: about {more:.0f} further rates would be needed"
        return replace(known, reason=said), []
    below = _widest_gaps(multiple, kink * BELOW[0], kink * BELOW[1], A_ROUND // 4)
    top = min(ABOVE[1] * kink, float(found.multiple[found.reached][-1]))
    above = _widest_gaps(multiple, kink * ABOVE[0], max(top, kink * 1.2), A_ROUND - len(below))
    return known, [*above, *below]


def _divergence(found: Found, asked: float | None) -> tuple[Precision, list[float]]:
    """The largest rate that reached ε and the smallest above it that diverged."""
    if asked is None:
        return Precision(met=True), []
    if not found.reached.any():
        return Precision(reason="no rate reached ε"), []
    low = float(found.multiple[found.reached][-1])
    above = found.multiple[found.diverged & (found.multiple > low)]
    if not len(above):
        return Precision(low=low, reason=f"no rate diverged, up to {found.multiple[-1]:g}"), []
    high = float(above[0])
    known = Precision(low, high, met=math.log(high / low) <= asked)
    short = found.multiple[(found.multiple > low) & (found.multiple < high)]
    if known.met or not len(short):
        return known, [] if known.met else _between(low, high, 2)
    ends = [(low, float(short[0])), (float(short[-1]), high)]
    wide = [at for end in ends if math.log(end[1] / end[0]) > asked for at in _between(*end, 1)]
    said = f"{len(short)} rates between neither reached ε nor diverged within stop.max_steps"
    return known if wide else replace(known, reason=said), wide


def _valley(
    found: Found, asked: float | None, divergence: Precision
) -> tuple[Precision, list[float]]:
    """The measured rates on both sides of that with the least test loss."""
    if asked is None:
        return Precision(met=True), []
    known = found.reached & np.isfinite(found.test_loss)
    if not known.any():
        return Precision(reason="no rate reached ε with a test loss"), []
    multiple, loss = found.multiple[known], found.test_loss[known]
    best = int(np.argmin(loss))
    if best == 0:
        said = "the test loss is least at the smallest rate"
        return Precision(high=float(multiple[0]), reason=said), []
    low, middle = float(multiple[best - 1]), float(multiple[best])
    if best < len(multiple) - 1:
        high = float(multiple[best + 1])
    elif math.isfinite(divergence.high):
        high = divergence.high
    else:
        return Precision(low=low, reason="the test loss is least at the largest rate"), []
    gaps = [(low, middle), (middle, high)]
    wide = [gap for gap in gaps if math.log(gap[1] / gap[0]) > asked]
    return Precision(low, high, met=not wide), [at for gap in wide for at in _between(*gap, 1)]


def _between(low: float, high: float, count: int) -> list[float]:
    """So many multiples between two others, in equal ratios."""
    return [low * (high / low) ** (k / (count + 1)) for k in range(1, count + 1)]


def _widest_gaps(multiple: Floats, low: float, high: float, count: int) -> list[float]:
    """The middles of the widest gaps that the rates leave between two bounds, one by one."""
    inside = multiple[(multiple > low) & (multiple < high)].tolist()
    ends = [low, *inside, high]
    found: list[float] = []
    for _ in range(count):
        ratios = [b / a for a, b in itertools.pairwise(ends)]
        widest = int(np.argmax(ratios))
        middle = math.sqrt(ends[widest] * ends[widest + 1])
        found.append(middle)
        ends.insert(widest + 1, middle)
    return found


def new_multiples(wanted: Sequence[float], found: Found) -> list[float]:
    """Multiples to their digits, those that are none of the known ones nor of each other."""
    logs = np.log(found.multiple).tolist()
    new = []
    for multiple in wanted:
        rounded = float(f"{multiple:.{DIGITS}g}")
        if all(abs(math.log(rounded) - one) > SAME for one in logs):
            logs.append(math.log(rounded))
            new.append(rounded)
    return new
