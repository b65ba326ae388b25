"""Plain words of YAML 1.2, in files and on the command line: many are others by YAML 1.1."""

from __future__ import annotations

import math

import pytest
import yaml

from orchestrator.sweep import parse
from orchestrator.sweep.yaml_text import plain_value, read, to_yaml

# YAML 1.2.2, section 10.3.2; the second column is what YAML 1.1 makes of the same text.
WORDS = [
    ("017", 17, 15),
    ("0o17", 15, "0o17"),
    ("12:30", "12:30", 750),
    ("1_000", "1_000", 1000),
    ("0b11", "0b11", 3),
    ("yes", "yes", True),
    ("off", "off", False),
    ("1e3", 1000.0, "1e3"),
    ("0x1F", 31, 31),
    ("-7", -7, -7),
    ("+.5", 0.5, "+.5"),
    ("1.", 1.0, 1.0),
    ("-.INF", -math.inf, -math.inf),
    ("TRUE", True, True),
    ("~", None, None),
    ("", None, None),
    ("0x", "0x", "0x"),
    ("tRUE", "tRUE", "tRUE"),
    ("1.2.3", "1.2.3", "1.2.3"),
]


@pytest.mark.parametrize(("text", "value", "by_yaml_1_1"), WORDS)
def test_a_word_is_read_by_yaml_1_2(text: str, value: object, by_yaml_1_1: object) -> None:
    assert yaml.safe_load(text) == by_yaml_1_1
    found = plain_value(text)
    assert (found, type(found)) == (value, type(value))
    assert read(f"a: [{text or '~'}, '{text}']", "the file") == {"a": [value, text]}


def test_a_number_with_a_leading_zero_is_decimal_everywhere(small: str) -> None:
    (column,) = parse(small, ["problem.width=017"]).columns
    assert column.problem.width == 17
    (column,) = parse(small.replace("width: 64", "width: 017")).columns
    assert column.problem.width == 17


@pytest.mark.parametrize("text", [text for text, *_ in WORDS])
def test_text_that_looks_like_another_type_is_written_with_quotes(text: str) -> None:
    written = to_yaml({"name": text})
    assert read(written, "the file") == {"name": text}
    assert yaml.safe_load(written) == {"name": text}


def test_values_are_written_a_line_each_in_their_order() -> None:
    content = {"b": 1, "a": {"x": [1e-05, None, True, "é"]}}
    assert to_yaml(content) == "b: 1\na:\n  x:\n  - 1.0e-05\n  - null\n  - true\n  - é\n"
