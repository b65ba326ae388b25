"""What one trial is: frozen values with canonical names. Needs the standard library only."""

from jobs.spec.loss_name import LOSSES
from jobs.spec.optimizer import GD, OPTIMIZERS, Optimizer
from jobs.spec.problem import (
    ACTIVATIONS,
    ARCHITECTURES,
    DTYPES,
    PARAMETERIZATIONS,
    Problem,
)
from jobs.spec.protocol import (
    FLOW_METHODS,
    FURTHER_MEASURES,
    LEAST_RTOL,
    Protocol,
    check_reachable,
)
from jobs.spec.start import Start, StateName
from jobs.spec.trial import (
    KINDS,
    NAMES,
    SCHEMA_VERSION,
    Kind,
    Trial,
    canonical_json,
    check_comparable,
    column_id,
)
from jobs.spec.values import SpecError, positive

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "DTYPES",
    "FLOW_METHODS",
    "FURTHER_MEASURES",
    "GD",
    "KINDS",
    "LEAST_RTOL",
    "LOSSES",
    "NAMES",
    "OPTIMIZERS",
    "PARAMETERIZATIONS",
    "SCHEMA_VERSION",
    "Kind",
    "Optimizer",
    "Problem",
    "Protocol",
    "SpecError",
    "Start",
    "StateName",
    "Trial",
    "canonical_json",
    "check_comparable",
    "check_reachable",
    "column_id",
    "positive",
]
