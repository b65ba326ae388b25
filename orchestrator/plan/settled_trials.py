"""What the tables say of settled trials: columns of arrays, one row a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.spec import GD, Optimizer

DIGITS = 16
"""Of a trial_id or column_id."""

Mask = npt.NDArray[np.bool_]
Names = npt.NDArray[np.uint64]
"""Trials or columns by their names, each the number that its 16 hex digits are."""


@dataclass(frozen=True)
class Threshold:
    """How one trial met one loss threshold; ``time`` in units of the flow's time."""

    epsilon: float
    status: str
    time: float
    max_sharpness: float | None


@dataclass(frozen=True)
class FlowSummary:
    """What a settled flow says about its column.

    ``sharpness`` is s_gf(ε), the largest sharpness along the flow until loss ε, for every
    threshold that the flow reached; ``time`` is the flow's time to the smallest of them.
    ``init_sharpness`` is that at θ0. ``gradients`` and ``hvps`` are what the flow took, with what
    it measured.
    """

    sharpness: Mapping[float, float]
    time: float | None
    gradients: int
    hvps: int
    seconds_per_gradient: float
    init_sharpness: float | None = None

    @classmethod
    def of(
        cls,
        thresholds: Iterable[Threshold],
        *,
        gradients: int,
        hvps: int,
        wall_s: float,
        init_sharpness: float | None,
    ) -> FlowSummary:
        """The summary of a flow that took ``wall_s`` seconds."""
        reached = [t for t in thresholds if t.status == "reached" and t.max_sharpness]
        return cls(
            sharpness={t.epsilon: t.max_sharpness for t in reached if t.max_sharpness},
            time=max((t.time for t in reached), default=None),
            gradients=gradients,
            hvps=hvps,
            seconds_per_gradient=wall_s / max(gradients + hvps, 1),
            init_sharpness=init_sharpness,
        )

    def critical_rate(self, epsilon: float, optimizer: Optimizer = GD) -> float | None:
        """η_c of an optimiser, 2 / s_gf(ε) for GD; None where the flow did not reach ε."""
        sharpness = self.sharpness.get(epsilon)
        return None if sharpness is None else optimizer.critical_rate(sharpness)

    def initial_rate(self, optimizer: Optimizer = GD) -> float | None:
        """The same of the sharpness at θ0; None where that is 0 or was not measured."""
        return optimizer.critical_rate(self.init_sharpness) if self.init_sharpness else None


@dataclass(frozen=True, eq=False)
class SettledTrials:
    """Settled trials, each by its newest attempt.

    Attributes:
        trial: trial_id as a number.
        column: column_id as a number.
        is_flow: whether it is the flow of its column.
        eta: the learning rate; NaN of a flow.
        attempt: the attempt that settled it.
        diverged: whether its loss grew beyond bounds.
        no_start: whether it was not computed, because its parent never came to where it begins.
        reached: whether it reached its smallest ε.
        sharpness: S there; NaN where it did not reach it, or S did not converge.
        test_loss: the test loss there; NaN where it did not reach it.
        seconds: what that attempt took; of what a batch took, its share.
        finished_at: when, in microseconds since the epoch.
        digested: whether the digest of its data is known, as in all rows but those of versions that
            named trials otherwise.
        flows: what each flow among them says of its column, by its name.
    """

    trial: Names
    column: Names
    is_flow: Mask
    eta: npt.NDArray[np.float64]
    attempt: npt.NDArray[np.int64]
    diverged: Mask
    no_start: Mask
    reached: Mask
    sharpness: npt.NDArray[np.float64]
    test_loss: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    finished_at: npt.NDArray[np.int64]
    digested: Mask
    flows: Mapping[int, FlowSummary] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trial)

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """The names of the trials."""
        return tuple(map(as_name, self.trial.tolist()))

    def take(self, rows: Mask | npt.NDArray[np.intp]) -> SettledTrials:
        """Some of the rows."""
        if rows.dtype == np.bool_ and rows.all():
            return self
        taken = {name: getattr(self, name)[rows] for name in _ARRAYS}
        left = set(taken["trial"][taken["is_flow"]].tolist())
        return SettledTrials(**taken, flows={name: self.flows[name] for name in left})


_ARRAYS = [f.name for f in dataclasses.fields(SettledTrials) if f.name != "flows"]
NOTHING_SETTLED = SettledTrials(
    trial=np.zeros(0, np.uint64),
    column=np.zeros(0, np.uint64),
    is_flow=np.zeros(0, np.bool_),
    eta=np.zeros(0),
    attempt=np.zeros(0, np.int64),
    diverged=np.zeros(0, np.bool_),
    no_start=np.zeros(0, np.bool_),
    reached=np.zeros(0, np.bool_),
    sharpness=np.zeros(0),
    test_loss=np.zeros(0),
    seconds=np.zeros(0),
    finished_at=np.zeros(0, np.int64),
    digested=np.zeros(0, np.bool_),
)


def newest(parts: Sequence[SettledTrials]) -> SettledTrials:
    """The rows of all parts; of a trial in several, those of the highest attempt.

    Among equal attempts, the last part's count.
    """
    if len(parts) < 2:
        return parts[0] if parts else NOTHING_SETTLED
    trial, attempt = (np.concatenate([getattr(p, n) for p in parts]) for n in ("trial", "attempt"))
    part = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    order = np.lexsort((part, attempt, trial))
    last = np.ones(len(order), dtype=bool)
    last[:-1] = trial[order[1:]] != trial[order[:-1]]
    rows = np.sort(order[last])
    kept: dict[str, Any] = {
        n: np.concatenate([getattr(p, n) for p in parts])[rows] for n in _ARRAYS
    }
    flows: dict[int, FlowSummary] = {}
    of_flows = rows[kept["is_flow"]]
    for name, its_part in zip(trial[of_flows].tolist(), part[of_flows].tolist(), strict=True):
        flows[name] = parts[its_part].flows[name]
    return SettledTrials(**kept, flows=flows)


def as_name(number: int) -> str:
    """The trial_id or column_id of such a number."""
    return f"{number:0{DIGITS}x}"


def as_number(name: str) -> int:
    """A trial_id or column_id as the number that its hex digits are."""
    return int(name, 16)
