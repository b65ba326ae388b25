"""What a head counts of its cluster."""

from __future__ import annotations

from types import SimpleNamespace

from orchestrator.cluster.cluster import _living, _offer
from orchestrator.cluster.member import node_resource


def test_only_nodes_that_live_count_as_joined() -> None:
    def node(node_id: int, alive: bool) -> dict[str, object]:
        resources = {"CPU": 2.0, "GPU": 1.0, "memory": 8e9, node_resource(node_id): 1.0}
        return {"Alive": alive, "Resources": resources if alive else {**resources}}

    # A node that came back is listed twice, once dead; one that stayed away is listed dead.
    nodes = [node(1, False), node(1, True), node(2, False)]
    head = {"Alive": True, "Resources": {"CPU": 4.0, "memory": 6e9}}
    ray = SimpleNamespace(nodes=lambda: [head, *nodes])
    assert _living(ray) == {1}
    offer = _offer(ray, folder=None)  # type: ignore[arg-type]
    assert (offer.cpus, offer.gpus) == (6, 1)
    assert offer.memory_per_cpu == int(6e9 / 4)
