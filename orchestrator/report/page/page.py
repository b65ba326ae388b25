"""From the tables of a run directory to ``index.html``."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from orchestrator.report.labels import shortened
from orchestrator.report.markers import CAPTION
from orchestrator.report.page.curves import curves
from orchestrator.report.page.sections import sections
from orchestrator.report.tables import Tables
from orchestrator.run_directory import SWEEP
from orchestrator.store import write_bytes_whole
from orchestrator.store.files import file_errors

PAGE = "index.html"

PAGE_TEXTS = {
    "name": "index",
    "title": "The page of the run",
    "caption": "What was run and found, figures to zoom and to filter, failures, and provenance.",
    "alternative": "A page of HTML that needs no network.",
}
"""The page in the words that each figure has."""

MOST_COLUMNS = 1000
"""What a browser filters at once, and a file that is sent to others has room for."""

PLOTLY = "plotly-basic-4.1.1.min.js"
SCRIPTS = ("selection.js", "style.js", "figures.js", "numbers.js", "page.js")

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def write_page(run: Path, folder: Path, figures: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write the page of a run to a folder, which is made; say where.

    ``figures`` are the drawings beside it, each with ``title`` and ``files``, to which it links.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
    """
    text = page_of(run, figures)
    with file_errors(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_bytes_whole(folder / PAGE, text.encode())
    return folder / PAGE


def page_of(run: Path, figures: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page as HTML; the same tables give the same text.

    Nothing of the tables is markup or script: the template escapes all of it, the numbers go in as
    JSON that contains no ``<``, and the browser runs no script but those whose hashes are named.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the run directory cannot be read.
    """
    tables = Tables(run, MOST_COLUMNS)
    scripts = [part(PLOTLY), _in_own_scope([part(name) for name in SCRIPTS])]
    return (
        _environment()
        .from_string(part("page.html.jinja"))
        .render(
            policy=_policy(scripts),
            scripts=[Markup(script) for script in scripts],
            style=Markup(part("page.css")),
            data=Markup(as_json(curves(tables))),
            is_current=tables.computed is None,
            columns=len(tables.columns),
            columns_here=len(tables.shown),
            marks_caption=CAPTION,
            sweep_file=_sweep_file(run),
            figures=[_link(figure) for figure in figures],
            **sections(tables),
        )
    )


def as_json(value: object) -> str:
    """JSON that HTML and JavaScript read as JSON whatever text is in it, without spaces.

    >>> as_json({"label": "</script>"})
    '{"label":"\\\\u003c/script\\\\u003e"}'

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def _policy(scripts: Iterable[str]) -> str:
    """The Content-Security-Policy of a page that runs these inline scripts and loads nothing.

    Plotly sets the style of what it draws, so styles may be inline; its pictures to save are blobs.
    """
    hashes = " ".join(f"'{_hash(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def part(name: str) -> str:
    """One of the files that the page is made of."""
    return (files(__package__) / "parts" / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["text"] = _text
    environment.filters["typeset"] = _typeset
    environment.tests["commit"] = _is_commit
    return environment


def _number(value: float | None) -> str:
    """A number for a reader: whole ones with their thousands apart, others to four digits."""
    if value is None:
        return "not known"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _text(value: object, most: int = 60) -> str:
    return "not known" if value is None else shortened(value, most)


def _typeset(text: str) -> Markup:
    """Plain text as HTML, with the subscripts of η_c and s_gf."""
    markup = str(escape(text))
    for letter, index in (("η", "c"), ("s", "gf")):
        markup = markup.replace(f"{letter}_{index}", f"{letter}<sub>{index}</sub>")
    return Markup(markup)


def _is_commit(value: object) -> bool:
    """Whether this can only be the name of a commit: a reader may paste it into a shell."""
    return re.fullmatch("[0-9a-f]{7,64}", str(value)) is not None


def _in_own_scope(scripts: Sequence[str]) -> str:
    """Scripts as one, which see each other and leave no names behind."""
    return "(() => {\n" + '"use strict";\n' + "\n".join(scripts) + "})();\n"


def _sweep_file(run: Path) -> str | None:
    """The text of the run's sweep file, None where it has not got one that can be read."""
    try:
        return (run / SWEEP).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _link(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": figure["title"], "files": [Path(path).name for path in figure["files"]]}
