"""YAML text to plain values: one plain document, nothing that runs code, repeats or refers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from orchestrator.sweep.sentences import SweepError, dotted, shown, wrong

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 20
_LONGEST = 1_000
_LONGEST_OVERRIDE = 10_000  # OmegaConf reads at most 10,000 parts of an override
_Path = tuple[str | int, ...]


def read_file(path: Path, named: str) -> str:
    """The text of a YAML file; ``named`` is what messages call it.

    Raises:
        SweepError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SweepError(f"{named} does not exist; it must be a readable YAML file") from None
    except IsADirectoryError:
        raise SweepError(f"{named} is a directory; it must be a readable YAML file") from None
    except UnicodeDecodeError:
        raise SweepError(f"{named} is not UTF-8 text; it must be a readable YAML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name can exist"
        raise SweepError(
            f"{named} cannot be read ({reason}); it must be a readable YAML file"
        ) from None


def read(
    text: str, source: str, keys: str = "name, problem, ...", shell: Collection[str] = ()
) -> dict[Any, Any]:
    """The mapping that the text holds, with plain Python values; ``keys`` is an example of keys.

    Below the keys in ``shell`` stands what a shell reads, where ``${...}`` is its own.

    Raises:
        SweepError: the text is not one YAML mapping of plain values.
    """
    try:
        root = _checked_root(text, source, (), shell)
        if root is None:
            raise SweepError(f"{source} is empty; it must be a mapping with {keys}")
        if not isinstance(root, yaml.MappingStartEvent):
            kind = "a list" if isinstance(root, yaml.SequenceStartEvent) else "a single value"
            raise SweepError(f"{source} is {kind}; it must be a mapping with {keys}")
        # OmegaConf's limit is against aliases, which are refused above; long lists are welcome.
        content = (
            yaml.load(text, Loader=_LOADER)
            if shell
            else OmegaConf.to_container(OmegaConf.create(text, max_yaml_expanded_nodes=None))
        )
    except SweepError:
        raise
    except OmegaConfBaseException:
        raise SweepError(f"{source} has a key that is not text; its keys must be {keys}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number such as 0x_
        raise SweepError(
            f"{source} is not readable{_where_and_why(error, text)}; "
            "it must be YAML with balanced brackets and quotes"
        ) from None
    assert isinstance(content, dict)
    return content


def read_override(override: str, key: str, value: str) -> dict[Any, Any]:
    """The nested mapping that ``key=value`` stands for; the key has been checked to be known.

    Raises:
        SweepError: the value is not one plain YAML value.
    """
    if len(value) > _LONGEST_OVERRIDE:
        expected = f"at most {_LONGEST_OVERRIDE} characters long on the command line"
        raise wrong(key, value, expected)
    try:
        if _checked_root(value, key, tuple(key.split("."))) is None:
            raise SweepError(f"the override {shown(override)} has no value; it must be {key}=VALUE")
        content = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={value}"]))
    except SweepError:
        raise
    except (yaml.YAMLError, OmegaConfBaseException, ValueError):
        raise wrong(key, value, "a YAML value with balanced brackets and quotes") from None
    assert isinstance(content, dict)
    return content


def _checked_root(
    text: str, source: str, path: _Path, shell: Collection[str] = ()
) -> yaml.NodeEvent | None:
    """The first event of the document, None without one; every part of it has been checked."""
    root: yaml.NodeEvent | None = None
    events = yaml.parse(text, Loader=_LOADER)
    for event in events:
        if isinstance(event, yaml.NodeEvent):
            if root is not None:
                raise SweepError(f"{source} has several YAML documents; it must be one")
            root = event
            _check(event, events, path, source, shell)
    return root


def _check(
    event: yaml.NodeEvent,
    events: Iterator[Any],
    path: _Path,
    source: str,
    shell: Collection[str],
) -> None:
    where = dotted(path) or source
    if len(path) > _DEEPEST:
        raise SweepError(f"{where} is nested too deeply; it must be a plain value")
    if isinstance(event, yaml.AliasEvent):
        raise SweepError(
            f"{where} is the YAML alias '*{event.anchor}'; it must be written out "
            "(blocks of grids share what stands outside them)"
        )
    tag = getattr(event, "tag", None)
    if tag is not None:
        name = str(tag).replace("tag:yaml.org,2002:", "!!")
        raise SweepError(f"{where} has the YAML tag {shown(name)}; it must be a plain value")
    if isinstance(event, yaml.ScalarEvent):
        _check_scalar(where, event, plain=not path or path[0] not in shell)
    elif isinstance(event, yaml.SequenceStartEvent):
        for place, item in enumerate(_until(yaml.SequenceEndEvent, events)):
            _check(item, events, (*path, place), source, shell)
    elif isinstance(event, yaml.MappingStartEvent):
        _check_mapping(events, path, source, shell)


def _check_scalar(where: str, event: yaml.ScalarEvent, *, plain: bool) -> None:
    if plain and "${" in event.value:
        raise SweepError(
            f"{where} is {shown(event.value)}; it must be a plain value, "
            "for ${...} is not filled in here"
        )
    if len(event.value) > _LONGEST:
        raise wrong(where, event.value, f"at most {_LONGEST} characters long")
    if event.value == "???":
        raise SweepError(f"{where} is '???'; it must be a value")


def _check_mapping(events: Iterator[Any], path: _Path, source: str, shell: Collection[str]) -> None:
    lines: dict[str, int] = {}
    for key in _until(yaml.MappingEndEvent, events):
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarEvent):
            raise SweepError(
                f"{dotted(path) or source} has a key on line {line} that is not text; "
                "it must be one word"
            )
        child = (*path, str(key.value))
        _check(key, events, child, source, shell)
        if key.value in lines:
            raise SweepError(
                f"{dotted(child)} is given twice, on lines {lines[key.value]} and {line}; "
                "it must be given once"
            )
        lines[key.value] = line
        _check(next(events), events, child, source, shell)


def _until(end: type[yaml.Event], events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _where_and_why(error: Exception, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    position = getattr(error, "position", None)
    if mark is not None:
        line = f" at line {mark.line + 1}"
    elif isinstance(position, int):
        line = f" at line {text.count(chr(10), 0, position) + 1}"
    else:
        line = ""
    problem = getattr(error, "problem", None)
    return f"{line} ({' '.join(problem.split())})" if isinstance(problem, str) else line
