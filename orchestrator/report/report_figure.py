"""A figure with its texts, and its files."""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from orchestrator.store import atomic_write
from orchestrator.store.files import file_errors

DOTS_PER_INCH = 180

FORMATS = ("png", "svg")
"""Of every figure; ``pdf`` is another, which takes as long as both."""


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure with its texts, all plain.

    ``name`` is that of its files, without suffix. ``caption`` says what is seen and how it was
    selected, ``alternative`` what the drawing shows to a person who does not see it.
    """

    name: str
    title: str
    caption: str
    alternative: str
    figure: Figure

    def texts(self) -> dict[str, str]:
        """All but the drawing."""
        return {name: text for name, text in vars(self).items() if name != "figure"}


def save(
    drawn: ReportFigure,
    folder: Path,
    formats: Collection[str] = FORMATS,
    dots_per_inch: int | None = None,
) -> list[Path]:
    """Write a figure to a folder, which is made, with its words in each file; say where.

    Each file appears whole, and the same figure gives the same bytes.

    Raises:
        StoreError: the file system refused.
    """
    with file_errors(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = _file_name(drawn)
    _lay_out(drawn)
    paths = [folder / f"{name}.{suffix}" for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        atomic_write(path, partial(_write, drawn, suffix, dots_per_inch))
    return paths


def as_bytes(drawn: ReportFigure, suffix: str) -> bytes:
    """A figure as the content of a file; the same figure gives the same bytes."""
    content = io.BytesIO()
    _lay_out(drawn)
    _write(drawn, suffix, None, content)
    return content.getvalue()


def _lay_out(drawn: ReportFigure) -> None:
    """Find room for all text: it takes as long as drawing, and comes out alike in every format."""
    drawn.figure.draw_without_rendering()
    drawn.figure.set_layout_engine("none")


def _file_name(drawn: ReportFigure) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", drawn.name)


def _write(
    drawn: ReportFigure, suffix: str, dots_per_inch: int | None, to: Path | io.BytesIO
) -> None:
    # Without a salt of its own, the names of clip paths in SVG are random.
    with mpl.rc_context({"svg.hashsalt": _file_name(drawn), "pdf.fonttype": 42}):
        dots, metadata = dots_per_inch or DOTS_PER_INCH, _metadata(drawn, suffix)
        drawn.figure.savefig(to, format=suffix, dpi=dots, metadata=metadata)


def _metadata(drawn: ReportFigure, suffix: str) -> dict[str, Any]:
    """What readers of the format show; no dates, which would make every file a new one."""
    if suffix == "svg":
        return {"Title": drawn.title, "Description": drawn.alternative, "Date": None}
    if suffix == "pdf":
        return {"Title": drawn.title, "Subject": drawn.alternative, "CreationDate": None}
    return {"Title": drawn.title, "Description": drawn.alternative}
