"""The guide to Python runs as it stands, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.engine import Sink, live_log

GUIDE = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")


def test_its_python_runs_from_top_to_bottom(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(small)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 5
    assert "trajectories" in capsys.readouterr().out
    assert names["trials"].num_rows == 6  # type: ignore[attr-defined]
    assert names["count"][0] > 0  # type: ignore[index]


def test_every_service_and_the_bound_on_waiting_are_named() -> None:
    assert all(f"| `{sink}` | `pip install 'eos-sweep[{sink}]'`" in GUIDE for sink in Sink)
    assert f"{live_log.MOST_WAITING:,} reports behind" in GUIDE
