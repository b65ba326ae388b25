"""``eos export``: which files it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from orchestrator.reading import TABLES


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command_exports_all_tables_or_those_that_are_named(
    eos: Any, half_done: Path, tmp_path: Path
) -> None:
    answer = eos("export", half_done, "--output", tmp_path / "all", "--json")
    assert answer.status == 0
    listed = json.loads(answer.out)
    assert [row["table"] for row in listed] == list(TABLES)
    assert all(len(read(Path(row["file"]))) == row["rows"] for row in listed)
    assert eos("export", half_done, "trials", "-o", tmp_path / "one").status == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["trials.csv"]


def test_the_command_refuses_what_it_cannot_do_with_status_2(
    eos: Any, half_done: Path, tmp_path: Path
) -> None:
    wrong = {
        ("export", half_done, "trails", "-o", tmp_path / "x"): "did you mean 'trials'?",
        ("export", tmp_path, "-o", tmp_path / "x"): "RUN is ",
        ("export", half_done, "trials", "-o", tmp_path / "x", "--format", "xls"): "",
    }
    for arguments, said in wrong.items():
        answer = eos(*arguments)
        assert answer.status == 2
        assert said in answer.error
    assert not (tmp_path / "x").exists()
    assert eos("export", half_done, "trials", "-o", tmp_path / "x").status == 0
    first = (tmp_path / "x" / "trials.csv").read_bytes()
    assert eos("export", half_done, "trials", "-o", tmp_path / "x").status == 2
    assert eos("export", half_done, "trials", "-o", tmp_path / "x", "--force").status == 0
    assert (tmp_path / "x" / "trials.csv").read_bytes() == first
