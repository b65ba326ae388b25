"""Which rows count is told by the footers of compacted files, and by nothing else of them."""

import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.store import TABLES, TRAJECTORIES, Store, compact, compaction, query, write_part
from orchestrator.store import parts as parts_module
from orchestrator.store.parts import CONTAINS, INDEX, contents, decode, encode, index_of


def index_in(path) -> pa.Table | None:
    metadata = pq.read_metadata(path)
    return decode(metadata.metadata, metadata.num_rows)


def answers(run) -> list[list[tuple]]:
    """The rows of all tables, read and queried, which must agree."""
    store = Store(run.path)
    both = []
    for table in TABLES:
        read = store.rows(table)
        found = query(run.path, f"SELECT * FROM {table}").to_pylist()
        rows, queried = (sorted(map(str, map(dict.values, one))) for one in (read, found))
        assert rows == queried
        both.append(rows)
    return both


def some_trials(run) -> None:
    """Trials of which some came again, and attempts of which the newest came first."""
    for number in random.Random(0).sample(range(20), 20):
        run.trial(f"{number:02}", attempt=1 + number % 3, name=f"p{number:02}")
    for number in range(0, 20, 4):
        run.trial(f"{number:02}", attempt=2, name=f"q{number:02}")


def without_index(path) -> None:
    """Write the file again as a version did that had no index, under its name."""
    listed = pq.read_metadata(path).metadata[CONTAINS]
    rows = pq.read_table(path)
    with pq.ParquetWriter(path, rows.schema, store_schema=False) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({CONTAINS: listed})


@pytest.mark.parametrize("table", ["trials", "trajectories", "attempts"])
def test_the_index_of_a_compacted_file_counts_its_rows(run, table) -> None:
    some_trials(run)
    (path,) = compact(run.path, table).written
    found = {(row["trial_id"], row["attempt"]): row["rows"] for row in index_in(path).to_pylist()}
    rows = pq.read_table(path).to_pylist()
    assert found == Counter((row["trial_id"], row["attempt"]) for row in rows)


def test_an_index_is_the_same_after_it_was_text() -> None:
    rows = pa.table({"trial_id": ["b", "a", "b", "b"], "attempt": [1, 1, 2, 1]})
    index = index_of(rows)
    assert index.to_pydict() == {
        "trial_id": ["b", "a", "b"],
        "attempt": [1, 1, 2],
        "rows": [2, 1, 1],
    }
    assert decode({INDEX: encode(index)}, 4).equals(index)


@pytest.mark.parametrize(
    "metadata",
    [{}, {INDEX: b"not base64!"}, {INDEX: b"AAAA"}, {b"eos.index.2": b"AAAA"}],
    ids=["none", "no text", "no stream", "another form"],
)
def test_what_is_no_index_is_not_taken_for_one(metadata) -> None:
    assert decode(metadata, 0) is None


def test_an_index_of_another_number_of_rows_is_not_taken() -> None:
    index = index_of(pa.table({"trial_id": ["a"], "attempt": [1]}))
    assert decode({INDEX: encode(index)}, 2) is None


class Reads:
    """The columns that are read of files, by the name of the file."""

    def __init__(self, monkeypatch) -> None:
        self.columns: dict[str, set[str]] = {}
        original = pq.ParquetFile.read

        def read(file, columns=None, **options):
            name = self._names[file]
            self.columns.setdefault(name, set()).update(columns)
            return original(file, columns=columns, **options)

        self._names: dict[pq.ParquetFile, str] = {}
        opened = parts_module._open

        def remember(path):
            file = opened(path)
            self._names[file] = path.name
            return file

        monkeypatch.setattr(pq.ParquetFile, "read", read)
        monkeypatch.setattr(parts_module, "_open", remember)


def test_choosing_reads_the_keys_of_parts_and_no_column_of_a_compacted_file(
    run, monkeypatch
) -> None:
    some_trials(run)
    (path,) = compact(run.path, "trajectories").written
    run.trial("new", name="new")
    reads = Reads(monkeypatch)
    kept = {one.path.name: one.kept for one in Store(run.path).selection("trajectories")}
    assert kept == {path.name: 60, "new.parquet": 3}
    assert reads.columns == {"new.parquet": {"trial_id", "attempt"}}


def test_only_the_wanted_columns_of_a_compacted_file_are_read_when_all_its_rows_count(
    run, monkeypatch
) -> None:
    some_trials(run)
    (path,) = compact(run.path, "trajectories").written
    reads = Reads(monkeypatch)
    assert Store(run.path).table("trajectories", ["sharpness"]).num_rows == 60
    assert reads.columns == {path.name: {"sharpness"}}


def test_keys_that_cannot_be_read_do_not_matter_to_a_query_that_names_other_columns(run) -> None:
    """The bytes of the key columns are destroyed: whoever read them would fail."""
    some_trials(run)
    (path,) = compact(run.path, "trajectories").written
    group = pq.read_metadata(path).row_group(0)
    content = bytearray(path.read_bytes())
    for column in map(group.column, range(group.num_columns)):
        if column.path_in_schema in ("trial_id", "attempt"):
            start = column.dictionary_page_offset or column.data_page_offset
            content[start : start + column.total_compressed_size] = bytes(
                column.total_compressed_size
            )
    path.write_bytes(content)
    found = query(run.path, "SELECT count(*) AS n, sum(sharpness) AS s FROM trajectories")
    assert found.to_pylist() == [{"n": 60, "s": 120.0}]


def test_attempts_that_come_late_and_again_change_no_answer_by_compaction(run) -> None:
    some_trials(run)
    compact(run.path)
    run.trial("03", attempt=5, name="late", epsilons=(0.1,))
    run.trial("04", attempt=1, name="older")
    run.trial("07", attempt=2, name="again")
    before = answers(run)
    compact(run.path)
    assert answers(run) == before
    run.trial("03", attempt=6, name="later")
    before = answers(run)
    compact(run.path)
    assert answers(run) == before


def test_compacted_files_without_an_index_are_read_as_those_with_one(run) -> None:
    some_trials(run)
    written = compact(run.path).written
    with_index = answers(run)
    held = [contents(path) for path in written]
    for path in written:
        without_index(path)
        assert index_in(path) is None
    assert [contents(path) for path in written] == held
    assert answers(run) == with_index
    run.trial("03", attempt=5, name="late")
    before = answers(run)
    merged = compact(run.path).written
    assert answers(run) == before
    assert all(index_in(path) is not None for path in merged)


@pytest.mark.parametrize("attempt", [None, 3])
def test_a_compacted_file_with_damaged_pages_is_skipped_and_older_attempts_count(
    run, attempt
) -> None:
    """Its footer says that its attempts are the newest, but its rows cannot be read."""
    run.trial("a", attempt=2, name="a2", status="the-value-to-damage")
    run.trial("b", attempt=1)
    (path,) = compact(run.path, "trials").written
    run.trial("a", attempt=1, name="a1")
    if attempt:
        run.trial("b", attempt=attempt, name="newer")
    content = bytearray(path.read_bytes())
    content[content.index(b"the-value-to-damage")] ^= 0xFF
    path.write_bytes(content)
    expected = {("a", 1)} | ({("b", attempt)} if attempt else set())
    store = Store(run.path)
    rows = store.rows("trials")
    assert {(row["trial_id"], row["attempt"]) for row in rows} == expected
    assert [path for path, _ in store.unreadable] == [path]
    found = query(run.path, "SELECT DISTINCT trial_id, attempt, status FROM trials").to_pylist()
    assert {(row["trial_id"], row["attempt"]) for row in found} == expected


def many_rows(run, columns: int, steps: int) -> None:
    for number in random.Random(1).sample(range(columns), columns):
        key = {"trial_id": f"t{number:03}", "column_id": f"c{number:03}", "attempt": 1}
        rows = [{**key, "step": step, "sharpness": float(number)} for step in range(steps)]
        write_part(run.path, "trajectories", f"p{number:03}", rows)


def test_statistics_of_row_groups_tell_columns_apart_and_the_file_says_how_it_is_sorted(
    run, monkeypatch
) -> None:
    monkeypatch.setattr(compaction, "_ROW_GROUP", 100)
    many_rows(run, columns=20, steps=50)
    (path,) = compact(run.path, "trajectories").written
    metadata = pq.read_metadata(path)
    ranges = [
        (statistics.min, statistics.max)
        for group in range(metadata.num_row_groups)
        for statistics in [metadata.row_group(group).column(1).statistics]
    ]
    assert ranges == [(f"c{first:03}", f"c{first + 1:03}") for first in range(0, 20, 2)]
    names = [TRAJECTORIES.names[one.column_index] for one in metadata.row_group(0).sorting_columns]
    assert names == ["column_id", "trial_id", "step"]


def test_a_query_for_one_column_reads_its_row_groups_alone(run, monkeypatch) -> None:
    """All other row groups are destroyed: whoever read one would fail."""
    monkeypatch.setattr(compaction, "_ROW_GROUP", 100)
    many_rows(run, columns=20, steps=50)
    (path,) = compact(run.path, "trajectories").written
    metadata = pq.read_metadata(path)
    content = bytearray(path.read_bytes())
    for group in range(metadata.num_row_groups):
        if group != 3:
            for column in map(metadata.row_group(group).column, range(metadata.num_columns)):
                start = column.dictionary_page_offset or column.data_page_offset
                size = column.total_compressed_size
                content[start : start + size] = bytes(size)
    path.write_bytes(content)
    found = query(
        run.path,
        "SELECT count(*) AS n, max(sharpness) AS s FROM trajectories WHERE column_id = 'c007'",
    )
    assert found.to_pylist() == [{"n": 50, "s": 7.0}]


def test_few_rows_in_memory_make_more_files_that_later_compactions_leave(run, monkeypatch) -> None:
    monkeypatch.setattr(compaction, "_MOST_CELLS", 200 * len(TRAJECTORIES))
    many_rows(run, columns=20, steps=50)
    before = answers(run)
    written = compact(run.path, "trajectories").written
    assert [pq.read_metadata(path).num_rows for path in written] == [200] * 5
    assert answers(run) == before
    assert compact(run.path, "trajectories").merged == 0
