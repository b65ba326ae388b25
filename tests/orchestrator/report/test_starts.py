"""Which trials the figure of starts shows, and in what words."""

from __future__ import annotations

from orchestrator.report.figures.starts import MOST_PARENTS, _kind, chosen_rows


def row(trial_id, epsilon=0.1, parent=None, **values):
    plain = {"trial_id": trial_id, "kind": "gd", "epsilon": epsilon, "parent_id": parent}
    return plain | {"eta": 0.2, "eta_c": 0.1, "optimizer": "gd", "start": None} | values


def test_children_come_with_their_parents_and_the_flow_that_went_furthest():
    rows = [
        row("far", 0.01, kind="flow"),
        row("near", 0.1, kind="flow"),
        row("hot", 0.2),
        row("hot", 0.1),
        row("alone", 0.1),
        row("cold", 0.01, "hot"),
        row("cold", 0.05, "hot"),
        row("colder", 0.01, "cold"),
        row("orphan", 0.01, "gone"),
    ]
    found = [(one["trial_id"], one["epsilon"]) for one in chosen_rows(rows)]
    assert found[:1] == [("far", 0.01)]
    assert found[1:] == [
        ("hot", 0.1), ("cold", 0.01), ("colder", 0.01)
    ]  # fmt: skip


def test_of_many_parents_the_first_are_shown_with_their_children():
    rows = [row(f"p{n}") for n in range(20)] + [row(f"c{n}", parent=f"p{n}") for n in range(20)]
    found = [one["trial_id"] for one in chosen_rows(rows)]
    assert found == [f"{kind}{n}" for kind in "pc" for n in range(MOST_PARENTS)]


def test_a_child_is_named_by_its_rate_and_the_state_alone():
    child = row("c", start="2 η_c, nesterov β=0.9, ε = 0.1; 0.3 η_c, χ = 1, mean of 5")
    assert _kind(child) == r"2 $\eta_c$ from χ = 1, mean of 5"
