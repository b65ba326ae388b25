"""The sweep that comes with the package, and the sweep file that ``eos init`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import QUICKSTART

from orchestrator.cli.first_steps import SWEEP_FILES
from orchestrator.sweep import Sweep, load, parse
from orchestrator.sweep.schema import KEYS, OF_FILES

Eos = Callable[..., Any]


@pytest.fixture
def written(eos: Eos, tmp_path: Path) -> Path:
    path = tmp_path / "widths.yaml"
    answer = eos("init", path)
    assert answer.status == 0
    assert f" plan {path}" in answer.out
    return path


def test_the_packaged_quickstart_is_that_of_the_repository() -> None:
    assert (SWEEP_FILES / "quickstart.yaml").read_bytes() == QUICKSTART.read_bytes()


def test_the_file_is_a_sweep_that_is_named_after_it(eos: Eos, written: Path) -> None:
    assert load(written).name == "widths"
    plan = json.loads(eos("plan", written, "--run-dir", written.parent / "run", "--json").out)
    assert (len(plan["columns"]), plan["trials"]) == (2, 18)


def keys(text: str) -> set[str]:
    """The keys that a text names, in comments or not, with a block's in front of its own."""
    found, block = set(), ""
    for name in re.findall(r"^(?:# )?( *(?:# )?\w+):", text, re.M):
        key = name.replace("#", "").strip()
        block = block if name.startswith(" ") else key
        found.add(key if key == block else f"{block}.{key}")
    return found


def test_the_file_names_every_key(written: Path) -> None:
    found = keys(written.read_text())
    top = {path for path in [*KEYS, *(key.path for key in OF_FILES)] if "." not in path}
    assert top <= found
    of_blocks = {path for path in KEYS if path.count(".") == 1}
    assert of_blocks <= found | {"eta.geometric", "eta.linear"}


def test_what_is_commented_out_is_the_default(written: Path) -> None:
    def with_defaults(text: str) -> str:
        return re.sub(r"^( *)# (\w+: (?!.*FILE))", r"\1\2", text, flags=re.M)

    text = written.read_text()
    said = with_defaults(text)
    assert said.count("\n# ") < text.count("\n# ")
    assert said.count("\n  # ") == 0

    def columns(sweep: Sweep) -> list[object]:
        return [(c.column_id, c.etas, c.resources, c.stop_after_divergences) for c in sweep.columns]

    assert columns(parse(said)) == columns(parse(text))


EXAMPLES = ("also", "zip", "exclude", "when", "grids")


@pytest.mark.parametrize("key", EXAMPLES)
def test_the_example_of_a_list_is_one(written: Path, key: str) -> None:
    text, found = re.subn(
        rf"^( *)# {key}: \[\] .*such as (.*)$", rf"\1{key}: \2", written.read_text(), flags=re.M
    )
    assert found == 1
    both = ["problem.depth=[1,2]", "problem.activation=[tanh,relu]"]
    overrides = [] if key == "grids" else both  # an override wins over what a grid says
    as_it_is = parse(written.read_text(), overrides)
    assert parse(text, overrides).columns != as_it_is.columns


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing"])
def test_what_exists_is_not_replaced(eos: Eos, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.yaml"
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nothing")
    answer = eos("init", path)
    assert answer.status == 2
    assert answer.error == (
        f"FILE is {str(path)!r}, which exists and is not replaced; it must be a new file"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["a.yaml"]
    assert kind != "file" or path.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ä ö.yaml", "the sweep is named after it: name is 'ä ö'; it must be text of at most 100"),
        ("no/a.yaml", "it must be a new file in a folder that can be written to"),
    ],
)
def test_a_file_that_cannot_be_is_refused(eos: Eos, tmp_path: Path, name: str, said: str) -> None:
    answer = eos("init", tmp_path / name)
    assert answer.status == 2
    assert said in answer.error
    assert "\n" not in answer.error
    assert list(tmp_path.iterdir()) == []


def test_the_quickstart_is_run_as_its_file_would_be(
    eos: Eos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, Sweep]] = []

    def carry_out(run: Path, sweep: Sweep, *_: object, **__: object) -> int:
        seen.append((run, sweep))
        return 3

    monkeypatch.setattr("orchestrator.cli.run.carry_out", carry_out)
    assert eos("quickstart").status == 3
    assert eos("quickstart", "--run-dir", tmp_path).status == 3
    assert seen == [(Path("runs/quickstart"), load(QUICKSTART)), (tmp_path, load(QUICKSTART))]
