"""A Ray cluster for one run, on this machine or over the nodes of a SLURM job, until none is left.

:func:`here` says what the run has, :func:`start` leads a cluster on the first node, and
:func:`serve` lends the others to it.
"""

from orchestrator.cluster.allocation import Allocation, AllocationError, here
from orchestrator.cluster.cluster import (
    Cluster,
    ClusterError,
    Node,
    StartAbandonedError,
    start,
)
from orchestrator.cluster.member import serve
from orchestrator.cluster.ray_thread import end_process
from orchestrator.cluster.rendezvous import NoHeadError

__all__ = [
    "Allocation",
    "AllocationError",
    "Cluster",
    "ClusterError",
    "NoHeadError",
    "Node",
    "StartAbandonedError",
    "end_process",
    "here",
    "serve",
    "start",
]
