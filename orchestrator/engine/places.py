"""Where works run: the nodes of the cluster, but for those that turned out unfit."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.cluster import Node
from orchestrator.sweep import Resources


class UnfitNodeError(RuntimeError):
    """A node on which no trial that uses GPUs gets anywhere.

    Attributes:
        node_id: Ray's name for it.
        node: its name.
        reason: what its device said.
    """

    def __init__(self, node_id: str, node: str, reason: str) -> None:
        super().__init__(node_id, node, reason)
        self.node_id, self.node, self.reason = node_id, node, reason

    def __str__(self) -> str:
        return f"node {self.node} is unfit: {self.reason}"


@dataclass
class Places:
    """The ``nodes`` of a cluster, and what is wrong with the ``unfit``, by Ray's names."""

    nodes: tuple[Node, ...] = ()
    unfit: dict[str, UnfitNodeError] = field(default_factory=dict)

    def avoid(self, error: UnfitNodeError) -> bool:
        """Use a node no more; whether that is new."""
        new = error.node_id not in self.unfit
        self.unfit.setdefault(error.node_id, error)
        return new

    def fitting(self, resources: Resources) -> int:
        """How many trials with such resources run on the fit nodes at once."""
        processes = 0
        for node in self.nodes:
            if node.node_id not in self.unfit:
                by_cpus = node.cpus // resources.cpus_per_worker
                gpus = resources.gpus_per_worker
                processes += min(by_cpus, node.gpus // gpus) if gpus else by_cpus
        return processes // resources.workers

    def why(self) -> str:
        """What is wrong with the unfit nodes."""
        return "; ".join(str(error) for error in self.unfit.values())
