"""The kinds of trials of a grid: columns of central flows beside those of GD."""

import pytest

from jobs.spec import Trial
from orchestrator.sweep import SweepError, dump, parse
from orchestrator.sweep.labels import column_labels

FILE = """
name: kinds
problem: {dataset: digits, n_train: 100, width: [8, 16]}
eta: {values: [0.5, 1.0, 1.5, 2.0]}
stop: {epsilon: [0.1, 0.05]}
"""


def test_without_a_word_there_are_the_flow_and_gd() -> None:
    assert {column.kind for column in parse(FILE).columns} == {"gd"}
    assert "kinds:" not in dump(parse(FILE))
    assert parse(FILE, ["kinds=[flow,gd]"]) == parse(FILE)


def test_central_flows_have_a_column_beside_that_of_gd_at_the_rates_above_eta_c() -> None:
    sweep = parse(FILE, ["kinds=[flow,gd,central]"])
    assert [column.kind for column in sweep.columns] == ["gd", "central"] * 2
    gd, central = sweep.columns[:2]
    assert gd.flow() == central.flow()
    assert gd.column_id == parse(FILE).columns[0].column_id
    assert central.column_id != gd.column_id
    assert list(central.learning_rates(0.1)) == pytest.approx([0.15, 0.2])
    for eta in central.learning_rates(0.1):
        expected = Trial(
            problem=gd.problem, protocol=gd.protocol, kind="central", learning_rate=eta
        )
        assert central.at(eta) == expected
        assert expected.column_id == central.column_id
    labels = column_labels(sweep.columns)
    assert labels[central.column_id].replace(" central flow", "") == labels[gd.column_id]


def test_it_comes_back_from_its_file() -> None:
    sweep = parse(FILE, ["kinds=[central,flow]"])
    assert [column.kind for column in sweep.columns] == ["central"] * 2
    assert parse(dump(sweep)) == sweep


def test_of_rates_in_another_unit_those_above_eta_c_remain_once_it_is_known() -> None:
    rates = "eta={unit: absolute, values: [0.1, 0.3]}"
    (central,) = parse(FILE, ["kinds=[flow,central]", "problem.width=8", rates]).columns
    assert list(central.learning_rates(0.2)) == [0.3]
    assert list(central.learning_rates(0.05)) == [0.1, 0.3]


def test_of_several_optimisers_plain_gd_has_central_flows() -> None:
    sweep = parse(FILE, ["kinds=[flow,gd,central]", "optimizer.name=[gd,nesterov]"])
    found = [(column.optimizer.name, column.kind) for column in sweep.columns]
    assert found == [("gd", "gd"), ("gd", "central"), ("nesterov", "gd")] * 2


LISTS = "a list of flow, and of gd, central or both, such as [flow, gd, central]"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("kinds=[gd]", f"kinds is ['gd']; it must be {LISTS}"),
        ("kinds=[flow]", f"kinds is ['flow']; it must be {LISTS}"),
        ("kinds=[flow,central flow]", f"kinds is ['flow', 'central flow']; it must be {LISTS}"),
        ("kinds=3", f"kinds is 3; it must be {LISTS}"),
    ],
)
def test_other_kinds_are_refused(override: str, said: str) -> None:
    with pytest.raises(SweepError) as refused:
        parse(FILE, [override])
    assert str(refused.value) == said


def test_central_flows_that_cannot_be_are_refused() -> None:
    said = r"eta\.values is \[0\.5, 1\.0\]; it must be such that one is above 1"
    with pytest.raises(SweepError, match=said):
        parse(FILE, ["kinds=[flow,central]", "eta.values=[0.5, 1.0]"])
    with pytest.raises(SweepError, match="without central: only plain GD that begins at θ0"):
        parse(FILE, ["kinds=[flow,gd,central]", "optimizer.name=nesterov"])
