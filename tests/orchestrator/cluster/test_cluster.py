"""What a head counts of its cluster."""

from __future__ import annotations

from orchestrator.cluster.cluster import Cluster, _living, _nodes
from orchestrator.cluster.member import node_resource


def test_only_nodes_that_live_count_as_joined() -> None:
    def node(node_id: int, alive: bool) -> dict[str, object]:
        resources = {"CPU": 2.0, "GPU": 1.0, "memory": 8e9, node_resource(node_id): 1.0}
        return {"NodeID": f"{node_id}", "Alive": alive, "Resources": resources}

    # A node that came back is listed twice, once dead; one that stayed away is listed dead.
    nodes = [node(1, False), node(1, True), node(2, False)]
    head = {"NodeID": "0", "Alive": True, "Resources": {"CPU": 4.0, "memory": 6e9}}
    assert _living([head, *nodes]) == {1}
    offer = Cluster(_nodes([head, *nodes]), folder=None, ray=None, check_servers=list)  # type: ignore[arg-type]
    assert (offer.cpus, offer.gpus) == (6, 1)
    assert offer.memory_per_cpu == int(6e9 / 4)
