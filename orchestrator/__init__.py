"""Everything around a trial: sweep files, plans, execution, tables, analysis, figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eos_sweep import refuse_others

if TYPE_CHECKING:
    from orchestrator.reading import Run, open_run

__all__ = ["Run", "open_run"]

refuse_others()  # before an import of a name that somebody else's jobs has not


def __getattr__(name: str) -> object:
    """What reads tables, imported when it is asked for: most of the package needs no Arrow."""
    if name in __all__:
        from orchestrator import reading

        return getattr(reading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
