"""Diagonal linear networks: what is known of them exactly, and GD at thousands of learning rates.

The network f = ⟨w∘w, x⟩ is the smallest in which the norm of the solution and its sharpness pull
apart, and the one where both regimes of the learning rate can be computed by hand. A point x, its
target, GD on both sides of η_c:

>>> from jobs.diagonal import Flow, OnePoint, TrainingLoss, descend
>>> point = OnePoint.labelled_by(truth=[0.5, 0.5], x=[2, 1])
>>> point.norm_minimizer().sharpness, point.sharpness_minimizer().sharpness
(12.0, 6.0)
>>> eta_c = Flow(point.x, point.y, start=[0.01, 0.01]).critical_rate(1e-12)
>>> runs = descend(TrainingLoss([point.x], [point.y]), [0.01, 0.01], [0.5 * eta_c, 1.2 * eta_c])
>>> [round(float(ratio), 2) for ratio in runs.edge_ratio]
[0.5, 0.99]

``docs/diagonal.md`` has the formulas and what the tests know of each.
"""

from jobs.diagonal.flow import Flow
from jobs.diagonal.loss import TrainingLoss
from jobs.diagonal.manifold import Minimizer, OnePoint, l1_norm, l2_norm, norm, risk
from jobs.diagonal.plane import PlaneSweep, sweep_plane
from jobs.diagonal.points import Minimum, norm_minimizer, sharpness, sharpness_minimizer
from jobs.diagonal.sweep import Descents, descend
from jobs.diagonal.variants import (
    deep_sharpness,
    deep_sharpness_minimizer,
    difference_inputs,
    logistic_level_set,
    logistic_margin,
    logistic_sharpness,
    product_inputs,
    product_weights,
)

__all__ = [
    "Descents",
    "Flow",
    "Minimizer",
    "Minimum",
    "OnePoint",
    "PlaneSweep",
    "TrainingLoss",
    "deep_sharpness",
    "deep_sharpness_minimizer",
    "descend",
    "difference_inputs",
    "l1_norm",
    "l2_norm",
    "logistic_level_set",
    "logistic_margin",
    "logistic_sharpness",
    "norm",
    "norm_minimizer",
    "product_inputs",
    "product_weights",
    "risk",
    "sharpness",
    "sharpness_minimizer",
    "sweep_plane",
]
