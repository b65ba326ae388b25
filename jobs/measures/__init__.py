"""What is measured of a point θ: its norms, its sharpness, and what else a protocol asks for.

``docs/measures.md`` has their definitions, costs and accuracies.
"""

from jobs.measures.ascent import average_sharpness
from jobs.measures.flow_distance import FlowReference, FlowState
from jobs.measures.further import further_measures
from jobs.measures.norms import all_norms, l1_norm, l2_norm, linf_norm
from jobs.measures.spectrum import (
    LeadingEigenvalues,
    adaptive_sharpness,
    leading_eigenvalues,
    sharpness,
)
from jobs.measures.stochastic import Estimate, hutchinson

__all__ = [
    "Estimate",
    "FlowReference",
    "FlowState",
    "LeadingEigenvalues",
    "adaptive_sharpness",
    "all_norms",
    "average_sharpness",
    "further_measures",
    "hutchinson",
    "l1_norm",
    "l2_norm",
    "leading_eigenvalues",
    "linf_norm",
    "sharpness",
]
