"""What the tables of a sweep say about the transition at η_c: one row per column and threshold.

>>> flow = Measured(status="reached", s_gf=20.0, sharpness=20.0, l1_norm=5.0)
>>> gd = [
...     Measured(status="reached", eta=eta, sharpness=min(20.0, 2 / eta), sharpness_converged=True)
...     for eta in (0.05, 0.08, 0.15, 0.2, 0.3)
... ]
>>> row = phase_row("c", 0.1, flow, gd)
>>> row.eta_c, row.edge_ratio
(0.1, 1.0)
>>> round(row.eta_c_fitted, 6), round(row.edge_exponent, 6)
(0.1, -1.0)
"""

from orchestrator.analysis.phase import Measured, PhaseRow, phase_row
from orchestrator.analysis.run import Analysis, analyze, is_current, phases
from orchestrator.analysis.series import fates_of

__all__ = [
    "Analysis",
    "Measured",
    "PhaseRow",
    "analyze",
    "fates_of",
    "is_current",
    "phase_row",
    "phases",
]
