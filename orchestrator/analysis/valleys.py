"""Whether the best test loss lies between the ends of the learning rates, over several seeds.

Among many rates one is the lowest by chance. So each seed is asked for its depth not where it is
lowest itself but where the other seeds are: the median of their best rates, in units of each
seed's own η_c. It is how far the test loss there lies below an end, relative to that end. A valley
is there if for both ends the mean depth over seeds exceeds its standard deviation over seeds, and
DEEP_ENOUGH even at the lower end of its interval (Student's t, one-sided at SIGNIFICANT). None is
there if for one end the mean depth is below DEEP_ENOUGH even at the upper end of its interval, and
the rates go up to KINK[1]·η_c in every seed that knows its η_c: where they end sooner, there may be
one beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import stdtrit

from orchestrator.analysis import undecided
from orchestrator.analysis.bounds import (
    DEEP_ENOUGH,
    KINK,
    LEAST_FOR_SEEDS,
    LEAST_FOR_VALLEY,
    SIGNIFICANT,
)
from orchestrator.analysis.crossings import GdRows, Places
from orchestrator.analysis.grouped import (
    Codes,
    Flags,
    Numbers,
    at,
    blocks,
    codes,
    distinct_per_group,
    firsts,
    flags_or_null,
    medians,
    numbers_or_null,
    together,
)
from orchestrator.analysis.groups import name_of
from orchestrator.store import COLUMN_FIELDS, VALLEYS

WHAT = "valley of test loss"

SHARED = tuple(name for name in COLUMN_FIELDS if name != "seed")
"""What the columns of a group have in common."""


@dataclass(frozen=True)
class Valleys:
    """What places know of the valley of their group, of shape (places,), NaN where nothing.

    ``shaped`` is 1 or 0 and like ``spread`` that of the group; ``depth`` is the place's own, at the
    rate ``eta``. ``reason`` says why a group does not decide, or a place alone. ``table`` has a row
    per group, as in :data:`orchestrator.store.VALLEYS` without the problems.
    """

    shaped: Numbers
    spread: Numbers
    depth: Numbers
    eta: Numbers
    reason: undecided.Texts
    table: pa.Table


@dataclass(frozen=True)
class _Losses:
    """Of each place the test losses at both ends and the best rate; shape (places,)."""

    n: Codes
    first: Numbers
    last: Numbers
    eta_best: Numbers
    eta_last: Numbers


def over_seeds(trials: pa.Table, places: Places, gd: GdRows) -> tuple[Valleys, pa.Table]:
    """The valleys of the columns that differ in the seed alone, and the table of them.

    ``trials`` needs ``column_id`` and the fields of the problem.
    """
    first = pc.index_in(places.keys["column_id"], value_set=trials["column_id"].combine_chunks())
    problems = trials.select(COLUMN_FIELDS).take(first)
    parts = [codes(problems[name]) for name in SHARED]
    shared = together(parts, len(places))
    group = together([shared, codes(places.keys["epsilon"])], len(places))
    found = valleys(places, gd, group, codes(problems["seed"]))
    one = pa.array(np.unique(group, return_index=True)[1])
    table = problems.select(SHARED).take(one)
    names = [name_of("seed", row) for row in table.to_pylist()]
    columns = {
        "group_id": pa.array(names, type=pa.string()),
        "epsilon": places.keys["epsilon"].take(one),
        **{name: table[name] for name in SHARED},
        **{name: found.table[name] for name in found.table.column_names},
    }
    whole = pa.table([columns[name] for name in VALLEYS.names], schema=VALLEYS)
    return found, whole.sort_by([("group_id", "ascending"), ("epsilon", "ascending")])


def valleys(places: Places, gd: GdRows, group: Codes, seed: Codes) -> Valleys:
    """The valleys of groups of places, numbered from 0 on; ``group``, ``seed`` (places,)."""
    n_groups, included = int(group.max(initial=-1)) + 1, gd.included()
    known = included.chosen(np.isfinite(included.test_loss))
    losses = _losses(known, len(places))
    usable = losses.n >= LEAST_FOR_VALLEY
    used = usable & _one_per_seed(group, seed, losses.n)
    rated = np.isfinite(places.predicted)
    # Seeds without an η_c of their own cannot be compared with those that have one.
    related = np.bincount(group[used & rated], minlength=n_groups) >= LEAST_FOR_SEEDS
    used &= rated | ~related[group]
    unit = np.where(related[group] & rated, places.predicted, 1.0)
    asked = _asked(np.log(losses.eta_best / unit), used, group, n_groups)
    eta, loss = _nearest(known, asked, unit)
    depths = [np.where(usable, _below(loss, end), np.nan) for end in (losses.first, losses.last)]
    n_used = np.bincount(group[used], minlength=n_groups)
    with np.errstate(invalid="ignore"):
        reach = np.where(rated, losses.eta_last / places.predicted, np.inf)
    least_reach = np.full(n_groups, np.inf)
    np.fmin.at(least_reach, group[used], reach[used])
    depth, spread, shaped = _judged(depths, used, group, n_used, least_reach >= KINK[1])
    n_seeds = distinct_per_group(group, seed, n_groups)
    reason = _reasons(n_seeds, n_used, depth, spread, shaped, least_reach)
    ratio = losses.eta_best / places.predicted
    best = {"eta_best": losses.eta_best, "eta_best_over_eta_c": ratio, "test_loss_best": loss}
    table = {
        "n_seeds": pa.array(n_seeds, type=pa.int64()),
        "n_used": pa.array(n_used, type=pa.int64()),
        **{name: numbers_or_null(_over(values, used, group)) for name, values in best.items()},
        "u_shaped": flags_or_null(shaped),
        "u_depth": numbers_or_null(depth),
        "u_spread": numbers_or_null(spread),
        "undecided": pa.array([text or None for text in reason], type=pa.string()),
    }
    rule = undecided.few(WHAT, losses.n, "included with a test loss", LEAST_FOR_VALLEY)
    alone = undecided.first_reasons(n_seeds[group] < LEAST_FOR_SEEDS, [rule])
    return Valleys(
        shaped[group],
        spread[group],
        np.minimum(*depths),
        np.where(usable, eta, np.nan),
        np.where(alone == "", reason[group], alone),
        pa.table(table),
    )


def _losses(known: GdRows, n: int) -> _Losses:
    first, last, best = (
        firsts(keys, known.place, n)
        for keys in ([known.eta], [-known.eta], [known.test_loss, known.eta])
    )
    return _Losses(
        np.bincount(known.place, minlength=n),
        at(known.test_loss, first),
        at(known.test_loss, last),
        at(known.eta, best),
        at(known.eta, last),
    )


def _one_per_seed(group: Codes, seed: Codes, n: Codes) -> Flags:
    """Of several columns of one seed, as under two protocols, the one with the most losses."""
    pair = together([group, seed], len(group))
    chosen = np.zeros(len(group), dtype=bool)
    chosen[firsts([-n], pair, int(pair.max(initial=-1)) + 1)] = True
    return chosen


def _asked(log_best: Numbers, used: Flags, group: Codes, n_groups: int) -> Numbers:
    """The median best rate of the others that are used; of an only one its own."""
    asked = np.array(log_best)
    place = np.flatnonzero(used)
    for _, rows in blocks(log_best[place], group[place], n_groups, least=LEAST_FOR_SEEDS):
        best = log_best[place[rows]]
        for k in range(rows.shape[1]):
            asked[place[rows[:, k]]] = np.median(np.delete(best, k, axis=1), axis=1)
    return asked


def _nearest(known: GdRows, asked: Numbers, unit: Numbers) -> tuple[Numbers, Numbers]:
    """The rate of each place nearest to the one asked for, in log η, and the test loss there."""
    away = np.abs(np.log(known.eta / unit[known.place]) - asked[known.place])
    # To nine digits, so that rounding does not choose between two that are equally near.
    nearest = firsts([np.round(away, 9).astype(np.float64), known.eta], known.place, len(asked))
    return at(known.eta, nearest), at(known.test_loss, nearest)


def _below(loss: Numbers, end: Numbers) -> Numbers:
    """How far a loss lies below an end, relative to it; nothing lies below an end of zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(end > 0, 1 - loss / end, 0.0)


def _judged(
    depths: list[Numbers], used: Flags, group: Codes, n_used: Codes, is_reached: Flags
) -> tuple[Numbers, Numbers, Numbers]:
    """Depth, spread and verdict of each group, of that end which decides.

    That there is no valley is said only where ``is_reached``.
    """
    n_groups = len(n_used)
    found, margins, tops = [], [], []
    student = stdtrit(np.maximum(n_used - 1, 1), 1 - SIGNIFICANT)
    for depth in depths:
        mean, spread = np.full((2, n_groups), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.bincount(group[used], depth[used], n_groups) / n_used
            rest = np.bincount(group[used], (depth[used] - mean[group[used]]) ** 2, n_groups)
            spread = np.where(n_used >= LEAST_FOR_SEEDS, np.sqrt(rest / (n_used - 1)), np.nan)
        found.append((mean, spread))
        half = student * spread / np.sqrt(np.maximum(n_used, 1))
        margins.append(mean - np.fmax(np.fmax(spread, half + DEEP_ENOUGH), DEEP_ENOUGH))
        tops.append(mean + half)
    with np.errstate(invalid="ignore"):
        none = (np.minimum(*tops) < DEEP_ENOUGH) & is_reached
        last = np.where(none, tops[1] < tops[0], margins[1] < margins[0])
        mean, spread = (np.where(last, found[1][k], found[0][k]) for k in range(2))
        verdict = np.where(np.minimum(*margins) > 0, 1.0, np.where(none, 0.0, np.nan))
    return mean, spread, np.where(n_used >= LEAST_FOR_SEEDS, verdict, np.nan)


def _over(values: Numbers, used: Flags, group: Codes) -> Numbers:
    """The median over the used places of each group that have the value."""
    n_groups, some = int(group.max(initial=-1)) + 1, used & np.isfinite(values)
    return medians(values[some], group[some], n_groups)


def _reasons(
    n_seeds: Codes,
    n_used: Codes,
    depth: Numbers,
    spread: Numbers,
    shaped: Numbers,
    reach: Numbers,
) -> undecided.Texts:
    """Why each group does not decide."""

    def few(i: int) -> str:
        if n_seeds[i] < LEAST_FOR_SEEDS:
            return f"{WHAT}: one seed has no spread, {LEAST_FOR_SEEDS} are needed"
        have = f"{n_used[i] or 'none'} of {n_seeds[i]} seeds {'has' if n_used[i] == 1 else 'have'}"
        rates = f"{LEAST_FOR_VALLEY} rates with a test loss"
        return f"{WHAT}: {have} {rates}, {LEAST_FOR_SEEDS} seeds are needed"

    def scatters(i: int) -> str:
        of_depth = f"a depth of {100 * depth[i]:.2g} % that scatters by {100 * spread[i]:.2g} %"
        ends = f"; the rates end at {reach[i]:.3g} η_c, {KINK[1]:g} are needed"
        return f"{WHAT}: {of_depth} over {n_used[i]} seeds{ends if reach[i] < KINK[1] else ''}"

    is_few = n_used < LEAST_FOR_SEEDS
    return undecided.first_reasons(is_few | np.isnan(shaped), [(is_few, few), (~is_few, scatters)])
