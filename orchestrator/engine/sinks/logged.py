"""A trial of the sweep in the form in which Tune's callbacks expect one of Tune's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from jobs.records import Point
from orchestrator.engine.work import Assignment


class LoggedTrial:
    """What a callback asks of a trial: its name, its settings and a folder.

    A Tune trial carries out many trials of a sweep, which would share one curve.

    Args:
        assignment: the trial.
        label: its column in a few words.
        folder: where the sink keeps its files.
        experiment: the sweep's name.
    """

    def __init__(self, assignment: Assignment, label: str, folder: Path, experiment: str) -> None:
        trial, flow = assignment.trial, assignment.flow
        self.eta = trial.learning_rate
        eta_c = None if flow is None else flow.critical_rate(trial.protocol.epsilons[-1])
        ratio = self.eta / eta_c if self.eta and eta_c else None
        self.trial_id = trial.trial_id
        self.experiment_dir_name = experiment
        self._name = _name(self.eta, ratio, label)
        self._folder = folder / assignment.column_id / self._part()
        settings: dict[str, Any] = {
            **dataclasses.asdict(trial.problem),
            "kind": trial.kind,
            "eta": self.eta,
            "eta_over_final_eta_c": ratio,
            "final_eta_c": eta_c,
            "column_id": assignment.column_id,
            "trial_id": self.trial_id,
        }
        self.config = {key: value for key, value in settings.items() if value is not None}
        self.evaluated_params = self.config

    @property
    def local_path(self) -> str:
        """The folder of this trial's files."""
        return str(self._folder)

    def init_local_path(self) -> None:
        """Make the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self._name

    def _part(self) -> str:
        """The name of the folder: rates in their order, and no two alike."""
        return f"flow-{self.trial_id}" if self.eta is None else f"{self.eta:.4e}-{self.trial_id}"


def _name(eta: float | None, ratio: float | None, label: str) -> str:
    if eta is None:
        return f"flow · {label}"
    relative = "" if ratio is None else f" = {ratio:.3g} final η_c"
    return f"η {eta:.4g}{relative} · {label}"


def metrics(point: Point, eta: float | None) -> dict[str, float]:
    """What is logged of a recorded step; a number that was not measured is left out.

    ``edge`` is S·η/2, which is 1 at the edge of stability.
    """
    found = dataclasses.asdict(point)
    step = found.pop("step")
    if eta is not None and point.sharpness is not None:
        found["edge"] = point.sharpness * eta / 2
    # By this name the callbacks know the step.
    return {k: v for k, v in found.items() if v is not None} | {"training_iteration": step}
