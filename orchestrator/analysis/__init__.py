"""What the tables of a sweep say: the transition at η_c, what it depends on, which statements hold.

>>> key = {"column_id": "c", "epsilon": 0.1, "status": "reached", "sharpness_converged": True}
>>> rows = [
...     {**key, "kind": "gd", "eta": eta, "sharpness": 2 / max(eta, 0.1)}
...     for eta in (0.05, 0.08, 0.11, 0.3)
... ]
>>> flow = {**key, "kind": "flow", "s_gf": 20.0, "sharpness": 20.0}
>>> exclusions_of([flow, *rows, {**rows[0], "status": "diverged"}])
[None, 'included', 'included', 'included', 'included', 'diverged']
"""

from orchestrator.analysis.by_column import by_column, is_plain, rows_by_column, scale
from orchestrator.analysis.crossings import exclusions_of
from orchestrator.analysis.phase import PhaseRow
from orchestrator.analysis.run import Analysis, analyze, compute, is_current

__all__ = [
    "Analysis",
    "PhaseRow",
    "analyze",
    "by_column",
    "compute",
    "exclusions_of",
    "is_current",
    "is_plain",
    "rows_by_column",
    "scale",
]
