"""The table ``measures`` is one like the others, and most trials have no rows in it."""

import re
import shutil
from pathlib import Path

import pytest

from orchestrator.store import RowError, Store, compact, query, write_part

GUIDE = Path(__file__).parents[3] / "docs" / "measures.md"


def _measured(run, trial: str, attempt: int = 1, name: str | None = None) -> None:
    """A trial with rows in all tables; ``value`` tells the attempts apart."""
    run.trial(trial, attempt, name)
    key = {"trial_id": trial, "attempt": attempt, "column_id": "c", "point": "end"}
    rows = [
        {**key, "epsilon": 0.1, "measure": "trace", "value": attempt, "standard_error": 0.5},
        {**key, "epsilon": 0.1, "measure": "eigenvalue", "rank": 2, "value": 1, "residual": 1e-4},
        {**key, "epsilon": 0.1, "measure": "eigenvalue", "rank": 1, "value": 2, "residual": 1e-4},
        {**key, "epsilon": 0.1, "measure": "l1_norm", "layer": "0.weight", "value": 3.0},
        {**key, "epsilon": 0.05, "measure": "l1_norm", "value": 4.0},
    ]
    write_part(run.path, "measures", name or trial, rows)


def test_they_are_joined_with_the_trials(run) -> None:
    _measured(run, "a")
    run.trial("b")
    sql = """
        SELECT t.trial_id, m.value, m.standard_error
        FROM trials t LEFT JOIN measures m
          ON m.trial_id = t.trial_id AND m.epsilon = t.epsilon AND m.measure = 'trace'
        WHERE t.epsilon = 0.1 ORDER BY t.trial_id
    """
    assert query(run.path, sql).to_pylist() == [
        {"trial_id": "a", "value": 1.0, "standard_error": 0.5},
        {"trial_id": "b", "value": None, "standard_error": None},
    ]


@pytest.mark.parametrize("compacted", [False, True])
def test_the_newest_attempt_counts_whole(run, compacted) -> None:
    _measured(run, "a", 1)
    _measured(run, "a", 2, "newer")
    _measured(run, "b", 1)
    if compacted:
        compact(run.path)
    rows = Store(run.path).rows("measures")
    assert len(rows) == 2 * 5
    assert {(row["trial_id"], row["attempt"]) for row in rows} == {("a", 2), ("b", 1)}


def test_a_compacted_file_is_sorted(run) -> None:
    for trial in "cab":
        _measured(run, trial)
    before = sorted(map(str, Store(run.path).rows("measures")))
    compact(run.path, "measures")
    assert len(Store(run.path).parts("measures")) == 1
    assert sorted(map(str, Store(run.path).rows("measures"))) == before
    rows = query(run.path, "SELECT trial_id, epsilon, measure, rank FROM measures").to_pylist()
    order = [(row["trial_id"], row["epsilon"], row["measure"], row["rank"] or 0) for row in rows]
    assert order == sorted(order)


def test_an_older_run_without_the_folder_is_read_and_compacted(run) -> None:
    run.trial("a")
    run.trial("b")
    shutil.rmtree(run.path / "measures")
    store = Store(run.path)
    assert store.rows("measures") == []
    assert store.check_parts() == []
    assert query(run.path, "SELECT count(*) AS n FROM measures").to_pylist() == [{"n": 0}]
    assert compact(run.path).merged == 3 * 2


def test_a_damaged_part_is_found_and_set_aside(run) -> None:
    _measured(run, "a")
    path = run.path / "measures" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    ((found, _),) = Store(run.path, warn=print).check_parts()
    assert found == path
    assert not path.exists()
    assert Store(run.path).rows("measures") == []


def test_a_column_that_the_table_lacks_is_named(run) -> None:
    with pytest.raises(RowError, match="column is 'sharpness'"):
        write_part(run.path, "measures", "a", [{"trial_id": "a", "attempt": 1, "sharpness": 1.0}])


def test_the_guides_queries_can_be_asked(run) -> None:
    _measured(run, "a")
    (block,) = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    statements = [statement for statement in block.split(";") if statement.strip()]
    columns = [query(run.path, statement).column_names for statement in statements]
    assert columns == [
        ["eta_over_eta_c", "point", "value", "error"],
        ["eta_over_eta_c", "l1_norm", "l1_norm_mid"],
    ]
