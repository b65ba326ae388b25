"""A Ray cluster for one run, from start to an empty process list."""

from orchestrator.cluster.local import LocalCluster

__all__ = ["LocalCluster"]
