"""Services that show training curves: the packages they need, and Tune's callback for each."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from jobs.records import Point
from jobs.spec import Trial
from orchestrator.engine.work import Assignment


class Sink(StrEnum):
    """A service that shows training curves."""

    tensorboard = "tensorboard"
    mlflow = "mlflow"
    wandb = "wandb"


_MODULES = {Sink.tensorboard: "tensorboardX", Sink.mlflow: "mlflow", Sink.wandb: "wandb"}


class MissingPackageError(ValueError):
    """A sink whose package is not installed; says how to install it."""


def refuse_missing(sinks: Iterable[Sink]) -> None:
    """Make sure that the packages of all sinks are installed; imports none of them.

    Raises:
        MissingPackageError: one is not.
    """
    for sink in sinks:
        if importlib.util.find_spec(_MODULES[sink]) is None:
            raise MissingPackageError(
                f"--log is {sink}, whose package {_MODULES[sink]} is not installed; it must be "
                f"there: pip install 'eos-sweep[{sink}]'"
            )


def folder_of(run: Path, sink: Sink) -> Path:
    """Where a sink keeps its files in the run directory."""
    return run / str(sink)


def make_callback(sink: Sink, run: Path, sweep: str) -> Any:
    """Tune's own callback for a sink, ready to log.

    The sink's environment variables come first: ``MLFLOW_TRACKING_URI`` and
    ``MLFLOW_EXPERIMENT_NAME``, ``WANDB_PROJECT``, ``WANDB_MODE`` and others. Without them all
    stays in the run directory, except that Weights & Biases sends to its service.
    """
    # Ray must not be imported before its settings are made, so its callbacks are imported here.
    folder = folder_of(run, sink)
    callback: Any
    if sink is Sink.tensorboard:
        from ray.tune.logger import TBXLoggerCallback

        callback = TBXLoggerCallback()  # type: ignore[no-untyped-call]
    elif sink is Sink.mlflow:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        callback = MLflowLoggerCallback(
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db",
            experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME") or sweep,
        )
    else:
        from ray.air.integrations.wandb import WandbLoggerCallback

        callback = WandbLoggerCallback(
            project=os.environ.get("WANDB_PROJECT") or sweep,
            group=os.environ.get("WANDB_RUN_GROUP") or sweep,
            dir=str(folder),
            resume="allow",  # a resumed trial continues in the run of its name
        )
    callback.setup()
    return callback


class LoggedTrial:
    """A trial of the sweep with the attributes that Tune's callbacks read of a Tune trial.

    A Tune trial itself carries out many trials of a sweep, which would share one curve.

    Args:
        assignment: the trial.
        label: its column in a few words.
        folder: where the sink keeps its files.
        experiment: the sweep's name.
    """

    def __init__(self, assignment: Assignment, label: str, folder: Path, experiment: str) -> None:
        trial, ratio = assignment.trial, assignment.eta_over_final_eta_c
        self.of, eta = trial, trial.learning_rate
        self.trial_id = trial.trial_id
        self.experiment_dir_name = experiment
        if eta is None:
            self._name, part = f"flow · {label}", f"flow-{self.trial_id}"
        else:
            relative = "" if ratio is None else f" = {ratio:.3g} final η_c"
            # Folders sort by η, and no two have the same name.
            self._name, part = f"η {eta:.4g}{relative} · {label}", f"{eta:.4e}-{self.trial_id}"
        self.local_path = str(folder / assignment.column_id / part)
        settings: dict[str, Any] = {
            **dataclasses.asdict(trial.problem),
            **({} if eta is None else {"optimizer": str(trial.optimizer)}),
            "kind": trial.kind,
            "eta": eta,
            "eta_over_final_eta_c": ratio,
            "final_eta_c": assignment.final_eta_c,
            "column_id": assignment.column_id,
            "trial_id": self.trial_id,
        }
        self.config = {key: value for key, value in settings.items() if value is not None}
        self.evaluated_params = self.config

    def init_local_path(self) -> None:
        """Make the folder of this trial's files."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self._name


def metrics(point: Point, trial: Trial) -> dict[str, float]:
    """What is logged of a recorded step; a number that was not measured is left out.

    ``edge`` is χ, which is 1 at the edge of stability: S·η/2 for GD.
    """
    found = dataclasses.asdict(point)
    step, eta = found.pop("step"), trial.learning_rate
    sharpness = found.pop("preconditioned_sharpness")
    sharpness = point.sharpness if sharpness is None else sharpness
    if eta is not None and sharpness is not None:
        found["edge"] = trial.optimizer.chi(eta, sharpness)
    # The callbacks take the step from this name.
    return {k: v for k, v in found.items() if v is not None} | {"training_iteration": step}
