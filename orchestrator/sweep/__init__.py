"""The sweep file: YAML and command-line overrides become a validated, frozen list of columns."""

from orchestrator.sweep.columns import Axis, Column, EtaGrid, Grid, Resources, Sweep
from orchestrator.sweep.load import dump, load, parse
from orchestrator.sweep.sentences import SweepError

__all__ = [
    "Axis",
    "Column",
    "EtaGrid",
    "Grid",
    "Resources",
    "Sweep",
    "SweepError",
    "dump",
    "load",
    "parse",
]
