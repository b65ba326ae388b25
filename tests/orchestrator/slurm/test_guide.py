"""The guide to SLURM: what it quotes can be typed, and its table of a profile's keys is whole."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from orchestrator.cli.app import app
from orchestrator.slurm.profile import Profile

GUIDE = (Path(__file__).parents[3] / "docs" / "slurm.md").read_text(encoding="utf-8")
_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:watch )?(eos [^`]+)`")


def commands() -> Iterator[str]:
    """The command lines of the guide, those that go over several lines in one piece."""
    for block in _FENCED.findall(GUIDE):
        lines = iter(block.splitlines())
        for line in lines:
            text = line.strip().removeprefix("$ ")
            if not text.startswith("eos "):
                continue
            while text.count('"') % 2:
                text += "\n" + next(lines)
            yield text
    yield from (text.replace("\n", " ") for text in _INLINE.findall(_FENCED.sub("", GUIDE)))


def keys() -> dict[str, str]:
    """What the table of a profile's keys says of each when it is not given."""
    table = GUIDE.partition("| key | means | unless given |\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]
    return {key: row[-1].strip("`") for row in rows for key in re.findall(r"`(\w+)`", row[0])}


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_a_quoted_command_has_its_options_and_arguments(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    group = typer.main.get_command(app)
    with group.make_context("eos", list(words)) as context:
        name, command, rest = group.resolve_command(context, words)  # type: ignore[attr-defined]
        assert command is not None
        if rest:  # without any, the text speaks of the command as such
            command.make_context(name, rest, parent=context)


def test_the_guide_has_many_commands() -> None:
    assert len(set(commands())) > 20


def test_every_key_of_a_profile_is_explained_and_no_other() -> None:
    assert keys().keys() == Profile.model_fields.keys()


def test_the_defaults_of_keys_are_those_of_the_table() -> None:
    fields = Profile.model_fields.items()
    usual = {key: str(f.default) for key, f in fields if isinstance(f.default, (int, str))}
    said = keys()
    assert {key: said[key] for key in usual} == usual
    assert said["cpus_per_node"] == "must be there"
