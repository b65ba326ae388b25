"""What plain words stand for in YAML 1.2: its core schema, for reading and for writing.

PyYAML itself reads them by YAML 1.1, where ``017`` is 15, ``12:30`` is 750 and ``no`` is false.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

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


def word(text: str) -> str | bool | None:
    """What a plain scalar stands for where numbers are kept as they are written."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    return False if _FALSE.fullmatch(text) else text


def value(text: str) -> str | bool | int | float | None:
    """What a plain scalar stands for.

    >>> value("017"), value("0o17"), value("1e-3"), value("12:30"), value("no"), value("True")
    (17, 15, 0.001, '12:30', 'no', True)
    """
    for base, form in _INTEGERS.items():
        if form.fullmatch(text):
            return int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text) or _NOT_A_NUMBER.fullmatch(text):
        return float(text.replace(".", ""))
    return word(text)


class _Dumper(_BASE):  # type: ignore[misc]
    """Quotes every text that is something else as a plain scalar, by either version of YAML."""


for _form in (_FLOAT, *_INTEGERS.values()):
    _whole = re.compile(rf"(?:{_form.pattern})\Z")
    _Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _whole, None)


def dump(content: dict[str, Any]) -> str:
    """The YAML text of plain values, a line for each, with keys in their order."""
    text: str = yaml.dump(content, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    return text
