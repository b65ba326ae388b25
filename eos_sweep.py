"""Where the command ``eos`` begins: this name is eos-sweep's own, those of its packages are not.

A ``jobs`` or an ``orchestrator`` of somebody else's, found first on Python's path, is named in one
sentence.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("jobs", "orchestrator")


def main() -> None:
    """Run the command line."""
    try:
        refuse_others()
    except ImportError as error:
        print(f"eos: {error}", file=sys.stderr)
        sys.exit(2)
    from orchestrator.entry import main as command_line

    command_line()


def refuse_others() -> None:
    """Make sure that our packages are the ones that Python finds by their names.

    Raises:
        ImportError: one is not; says which file is in the way.
    """
    for name in PACKAGES:
        place = _place(name)
        if place is not None and place.resolve() != Path(__file__).resolve().with_name(name):
            raise ImportError(
                f"{place} is in the way of the package {name!r} of eos-sweep, which Python finds "
                "behind it; rename it, start in another folder, or take its folder out of "
                "PYTHONPATH",
                name=name,
                path=str(place),
            )


def _place(name: str) -> Path | None:
    """The file, or the folder of the package, that an import of this name gives."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that was put there by hand
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin
