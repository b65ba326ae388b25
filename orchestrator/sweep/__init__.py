"""The sweep file: YAML and command-line overrides become a validated, frozen list of columns."""

from orchestrator.sweep.columns import Column
from orchestrator.sweep.errors import SweepError
from orchestrator.sweep.grid import AskedRate, EtaGrid, Grid, Refine, Resources, Unit
from orchestrator.sweep.load import dump, load, load_kept, parse
from orchestrator.sweep.rules import Axis, Condition, Match
from orchestrator.sweep.sweep import Sweep

__all__ = [
    "AskedRate",
    "Axis",
    "Column",
    "Condition",
    "EtaGrid",
    "Grid",
    "Match",
    "Refine",
    "Resources",
    "Sweep",
    "SweepError",
    "Unit",
    "dump",
    "load",
    "load_kept",
    "parse",
]
