"""Who wrote this program and where it can be had, by the metadata of its installation."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

AUTHOR = "The eos-sweep maintainers"
"""As in the licence."""

_REPOSITORY = "Repository"


@dataclass(frozen=True)
class Software:
    """``address`` is that of the repository, None where the metadata has none."""

    author: str
    address: str | None


def software() -> Software:
    """What a citation and a clone need; ``project.urls`` of pyproject.toml has the address."""
    try:
        metadata = importlib.metadata.metadata("eos-sweep")
    except importlib.metadata.PackageNotFoundError:
        return Software(AUTHOR, None)
    urls = (entry.partition(", ") for entry in metadata.get_all("Project-URL") or ())
    return Software(AUTHOR, next((url for name, _, url in urls if name == _REPOSITORY), None))
