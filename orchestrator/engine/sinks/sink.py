"""What trials can be logged to: which packages each needs, and Tune's callback for it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any


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
    """Where a sink keeps what it keeps in the run directory."""
    return run / str(sink)


def make_callback(sink: Sink, run: Path, sweep: str) -> Any:
    """Tune's own callback for a sink, ready to log.

    What the user has set in the sink's environment variables wins: ``MLFLOW_TRACKING_URI`` and
    ``MLFLOW_EXPERIMENT_NAME``, ``WANDB_PROJECT``, ``WANDB_MODE`` and their like. Without them all
    stays in the run directory, except that Weights & Biases sends to its service.
    """
    callback = _MAKERS[sink](folder_of(run, sink), sweep)
    callback.setup()
    return callback


# Ray must not be imported before its settings are made, so its callbacks are imported here only.


def _tensorboard(folder: Path, sweep: str) -> Any:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()  # type: ignore[no-untyped-call]


def _mlflow(folder: Path, sweep: str) -> Any:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db",
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME") or sweep,
    )


def _wandb(folder: Path, sweep: str) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    # A trial that is resumed goes on in the run of its name.
    return WandbLoggerCallback(
        project=os.environ.get("WANDB_PROJECT") or sweep,
        group=os.environ.get("WANDB_RUN_GROUP") or sweep,
        dir=str(folder),
        resume="allow",
    )


_MAKERS = {Sink.tensorboard: _tensorboard, Sink.mlflow: _mlflow, Sink.wandb: _wandb}
