"""What a sweep says across its columns: how η_c depends on each field, and which statements hold.

Pure functions of columnar data; nothing here loops over trials or over pairs of columns.
"""

from __future__ import annotations

import pyarrow as pa

from orchestrator.analysis.across.agreement import agreement_table
from orchestrator.analysis.across.dependence import dependence_table
from orchestrator.analysis.across.findings import findings_table
from orchestrator.analysis.across.problems import NEEDED, columns_table
from orchestrator.analysis.across.trends import trends_table

__all__ = ["NEEDED", "across"]


def across(trials: pa.Table, phase: pa.Table, valleys: pa.Table) -> dict[str, pa.Table]:
    """The tables ``columns``, ``dependence``, ``trends``, ``agreement`` and ``findings``.

    ``trials`` needs the columns :data:`NEEDED`, ``phase`` those of :data:`orchestrator.store.PHASE`
    for the same columns, ``valleys`` those of :data:`orchestrator.store.VALLEYS`.
    Their schemas are in :mod:`orchestrator.store.schema`.
    """
    columns = columns_table(trials)
    dependence = dependence_table(columns, phase)
    trends = trends_table(dependence)
    agreement = agreement_table(columns, phase)
    return {
        "columns": columns,
        "dependence": dependence,
        "trends": trends,
        "agreement": agreement,
        "findings": findings_table(phase, trends, agreement, valleys),
    }
