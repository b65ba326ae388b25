"""Changing the values of some keys in the content of a sweep file, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def each_value(
    content: Mapping[Any, Any], field: str, change: Callable[[str], str]
) -> dict[Any, Any]:
    """The content with every text changed that stands for a field of ``problem``, alone or in a
    list.
    """
    keys = (field, f"problem.{field}")

    def walked(key: object, value: object) -> Any:
        if isinstance(value, dict):
            return each_value(value, field, change)
        if isinstance(value, list):
            return [walked(key, item) for item in value]
        return change(value) if key in keys and isinstance(value, str) else value

    return {key: walked(key, value) for key, value in content.items()}
