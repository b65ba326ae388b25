"""Live logging of trials to TensorBoard, MLflow or Weights & Biases, through Tune's callbacks."""

from orchestrator.engine.sinks.log import LiveLog
from orchestrator.engine.sinks.sink import MissingPackageError, Sink, refuse_missing

__all__ = ["LiveLog", "MissingPackageError", "Sink", "refuse_missing"]
