"""docs/architecture.md names files that exist and every folder; names keep to docs/glossary.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("jobs", "orchestrator")

FORBIDDEN = "accident books fate fates feed held in_hand listening look looks pack packs roll wave"
"""Of the words that docs/glossary.md rules out, those that are no part of another word's name."""


def paths() -> list[str]:
    """Everything in backticks that is a path of the project."""
    quoted = re.findall(r"`([^`\n]+)`", ARCHITECTURE)
    return sorted({one for one in quoted if one.startswith(tuple(f"{p}/" for p in PACKAGES))})


@pytest.mark.parametrize("path", paths())
def test_every_path_of_the_architecture_exists(path: str) -> None:
    assert next(ROOT.glob(path), None) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_has_every_folder(package: str) -> None:
    folders = {
        str(init.parent.relative_to(ROOT)) for init in (ROOT / package).glob("*/__init__.py")
    }
    assert {folder for folder in folders if f"`{folder}/`" not in ARCHITECTURE} == set()


def test_there_are_five_walks_of_existing_files() -> None:
    walks = ARCHITECTURE.partition("## Five walks")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert len(walks) == 5
    assert all(len(re.findall(r"`(?:jobs|orchestrator)/[^`]+\.py`", walk)) >= 4 for walk in walks)


def defined_names() -> Iterator[tuple[str, str]]:
    """Each module, class and function of the packages, with the words of its name."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            where = str(path.relative_to(ROOT))
            yield where, path.stem
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{where}:{node.lineno}", node.name


def test_no_name_is_a_word_that_the_glossary_rules_out() -> None:
    forbidden = set(FORBIDDEN.split())
    found = {
        f"{where} {name}"
        for where, name in defined_names()
        if forbidden & {name, *re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")}
    }
    assert found == set()


def test_a_module_that_is_started_defines_everything_before_it_starts() -> None:
    """What stands below ``if __name__ == "__main__"`` is not there yet when the module runs."""
    started = [
        (path, ast.parse(path.read_text()).body)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    ]
    assert started
    late = [
        str(path.relative_to(ROOT)) for path, body in started if not isinstance(body[-1], ast.If)
    ]
    assert late == []
