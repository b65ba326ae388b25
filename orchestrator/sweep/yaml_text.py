"""YAML text to plain values and back: one plain document, no code, no repeated keys, no aliases.

PyYAML gives the events and their lines; words are read here by the core schema of YAML 1.2, because
PyYAML reads YAML 1.1 (``017`` is 15, ``no`` is false). ruamel.yaml 0.19 was tried in its place: it
takes 6 s of CPU time for a list of 50,000 learning rates that takes 0.2 s here, and reads ``1_000``
as a number and ``2001-01-01`` as a date.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from orchestrator.sweep.errors import SweepError, dotted, shown, wrong

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 20
_LONGEST = 1_000
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
    text: str,
    source: str,
    keys: str = "name, problem, ...",
    *,
    shell: Collection[str] = (),
    numbers: Collection[str] | None = None,
) -> dict[str, Any]:
    """The mapping that the text holds, with plain Python values; ``keys`` is an example of keys.

    Keys are text, as they are written. Below the keys in ``shell`` stands what a shell reads, where
    ``${...}`` is its own. Where ``numbers`` are given, numbers below other keys stay text as well.

    Raises:
        SweepError: the text is not one YAML mapping of plain values.
    """
    reader = _Reader(text, source, (), shell, numbers)
    try:
        found = reader.document()
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, SweepError):
            raise
        raise SweepError(
            f"{source} is not readable{_where_and_why(error, text, reader.path)}; "
            "it must be YAML with balanced brackets and quotes"
        ) from None
    if reader.empty:
        raise SweepError(f"{source} is empty; it must be a mapping with {keys}")
    if not isinstance(found, dict):
        kind = "a list" if isinstance(found, list) else "a single value"
        raise SweepError(f"{source} is {kind}; it must be a mapping with {keys}")
    return found


def read_override(override: str, key: str, value: str) -> dict[str, Any]:
    """The nested mapping that ``key=value`` stands for; the key has been checked to be known.

    Raises:
        SweepError: the value is not one plain YAML value.
    """
    path = tuple(key.split("."))
    reader = _Reader(value, key, path)
    try:
        found = reader.document()
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, SweepError):
            raise
        raise wrong(key, value, "a YAML value with balanced brackets and quotes") from None
    if reader.empty:
        raise SweepError(f"the override {shown(override)} has no value; it must be {key}=VALUE")
    nested: dict[str, Any] = {path[-1]: found}
    for name in reversed(path[:-1]):
        nested = {name: nested}
    return nested


class _Reader:
    """Reads one document; ``path`` is where it has come to, ``empty`` whether there was none."""

    def __init__(
        self,
        text: str,
        source: str,
        path: _Path,
        shell: Collection[str] = (),
        numbers: Collection[str] | None = None,
    ) -> None:
        self.path, self.empty = path, True
        self._text, self._source, self._shell, self._numbers = text, source, shell, numbers

    def document(self) -> Any:
        """The value of the document."""
        root, start, found = None, self.path, None
        events = yaml.parse(self._text, Loader=_LOADER)
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                if root is not None:
                    raise SweepError(f"{self._source} has several YAML documents; it must be one")
                root, self.empty = event, False
                found = self._value(event, events, start)
        return found

    def _value(self, event: yaml.NodeEvent, events: Iterator[Any], path: _Path) -> Any:
        self.path = path
        self._check(event, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            items = enumerate(_until(yaml.SequenceEndEvent, events))
            return [self._value(item, events, (*path, place)) for place, item in items]
        return self._mapping(events, path)

    def _check(self, event: yaml.NodeEvent, path: _Path) -> None:
        if len(path) > _DEEPEST:
            raise SweepError(f"{self._named(path)} is nested too deeply; it must be a plain value")
        if isinstance(event, yaml.AliasEvent):
            raise SweepError(
                f"{self._named(path)} is the YAML alias '*{event.anchor}'; it must be written out "
                "(blocks of grids share what stands outside them)"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            name = str(tag).replace("tag:yaml.org,2002:", "!!")
            raise SweepError(
                f"{self._named(path)} has the YAML tag {shown(name)}; it must be a plain value"
            )

    def _scalar(self, event: yaml.ScalarEvent, path: _Path) -> Any:
        text = self._checked_text(event, path)
        if not event.implicit[0]:  # it has quotes
            return text
        if self._numbers is None or (path and path[0] in self._numbers):
            return plain_value(text)
        return plain_word(text)

    def _checked_text(self, event: yaml.ScalarEvent, path: _Path) -> str:
        text: str = event.value
        if "${" in text and not (path and path[0] in self._shell):
            raise SweepError(
                f"{self._named(path)} is {shown(text)}; it must be a plain value, "
                "for ${...} is not filled in here"
            )
        if len(text) > _LONGEST:
            raise wrong(self._named(path), text, f"at most {_LONGEST} characters long")
        return text

    def _mapping(self, events: Iterator[Any], path: _Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key in _until(yaml.MappingEndEvent, events):
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarEvent):
                raise SweepError(
                    f"{self._named(path)} has a key on line {line} that is not text; "
                    "it must be one word"
                )
            child = (*path, str(key.value))
            self._check(key, child)
            name = self._checked_text(key, child)
            if name in lines:
                raise SweepError(
                    f"{dotted(child)} is given twice, on lines {lines[name]} and {line}; "
                    "it must be given once"
                )
            lines[name], self.path = line, child
            found[name] = self._value(next(events), events, child)
        return found

    def _named(self, path: _Path) -> str:
        return dotted(path) or self._source


def _until(end: type[yaml.Event], events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _where_and_why(error: Exception, text: str, path: _Path) -> str:
    mark = getattr(error, "problem_mark", None)
    position = getattr(error, "position", None)
    if mark is not None:
        near = dotted(path)
        where = f" at line {mark.line + 1}" + (f", near {near}" if near else "")
    elif isinstance(position, int):
        where = f" at line {text.count(chr(10), 0, position) + 1}"
    else:
        where = ""
    problem = getattr(error, "problem", None)
    return f"{where} ({' '.join(problem.split())})" if isinstance(problem, str) else where


_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGERS = {
    10: re.compile(r"[-+]?[0-9]+"),
    8: re.compile(r"0o[0-7]+"),
    16: re.compile(r"0x[0-9a-fA-F]+"),
}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")

_BASE: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def plain_word(text: str) -> str | bool | None:
    """What a plain scalar stands for where numbers are kept as they are written."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    return False if _FALSE.fullmatch(text) else text


def plain_value(text: str) -> str | bool | int | float | None:
    """What a plain scalar stands for.

    >>> [plain_value(text) for text in ("017", "0o17", "1e-3", "12:30", "no", "True")]
    [17, 15, 0.001, '12:30', 'no', True]
    """
    for base, form in _INTEGERS.items():
        if form.fullmatch(text):
            return int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text) or _NOT_A_NUMBER.fullmatch(text):
        return float(text.replace(".", ""))
    return plain_word(text)


class _Dumper(_BASE):  # type: ignore[misc]
    """Quotes every text that is something else as a plain scalar, by either version of YAML."""


for _form in (_FLOAT, *_INTEGERS.values()):
    _whole = re.compile(rf"(?:{_form.pattern})\Z")
    _Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _whole, None)


def to_yaml(content: dict[str, Any]) -> str:
    """The YAML text of plain values, a line for each, with keys in their order."""
    text: str = yaml.dump(content, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    return text
