"""A real SLURM on one host, below one folder: for trying things out, and for the tests.

`Loopback(folder).up()` starts munged, slurmctld and a slurmd for each pretended node, with
pretended GPUs, and on request the accounting; `down()` leaves nothing behind.
"""

from loopback.cluster import Loopback
from loopback.errors import LoopbackError
from loopback.programs import missing

__all__ = ["Loopback", "LoopbackError", "missing"]
