"""The page of a run: whole from tables alone, the same again, and no name in them is markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from datetime import UTC, datetime
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis import analyze
from orchestrator.report.page import curves, page, page_of, write_page
from orchestrator.report.page.page import as_json
from orchestrator.report.page.sections import MATTER, opening, statements
from orchestrator.report.tables import Tables
from orchestrator.store import query

SCRIPT = "</script><script>alert(1)</script>"
HOSTILE = {
    "dataset": SCRIPT,
    "activation": '"><img src=x onerror=alert(1)>',
    "loss": "\u2028'&amp;\u2029<b>",
    "architecture": "{{ 7 * 7 }}",
}


class Elements(HTMLParser):
    """The elements of a page, their attributes, the text of its scripts, and all other text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.scripts: list[tuple[dict[str, Any], str]] = []
        self.text = ""
        self._script: dict[str, Any] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = dict(attrs) if tag == "script" else None
        self.text += " " if tag in ("td", "th") else ""

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        else:
            self.scripts.append((self._script, data))

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(next(text for attrs, text in self.scripts if attrs.get("id") == "data"))


def read(run) -> Elements:
    return Elements(page_of(run.path))


def test_no_text_of_a_table_is_markup_or_script(run, column) -> None:
    run.add(column())
    run.add([{"trial_id": "a", "attempt": 1, "outcome": "failed", "error": "harmless"}], "attempts")
    harmless = Elements(page_of(run.path))
    run.add(column(column_id="<&>", sweep=SCRIPT, hostname=SCRIPT, git_commit=SCRIPT, **HOSTILE))
    run.add([{"trial_id": "b", "attempt": 1, "outcome": "failed", "error": SCRIPT}], "attempts")
    (run.path / "sweep.yaml").write_text(SCRIPT)
    text = page_of(run.path)
    assert "<script>alert" not in text
    assert "\u2028" not in text.partition('id="data">')[2].partition("</script>")[0]
    hostile = Elements(text)
    kinds = {tag for tag, _ in harmless.tags}
    assert {tag for tag, _ in hostile.tags} == kinds
    assert len(hostile.scripts) == len(harmless.scripts) == 3
    assert not [attrs for _, attrs in hostile.tags for name in attrs if name.startswith("on")]
    assert hostile.words.count(SCRIPT) >= 4
    axes = {axis["field"]: axis["values"] for axis in hostile.data["axes"]}
    assert SCRIPT in axes["dataset"]
    assert "{{ 7 * 7 }}" in axes["architecture"]


def test_json_in_html_is_the_same_json_without_markup() -> None:
    value = {"<!--": ["</SCRIPT>", "\u2028\u2029&", '"\\', "η_c", 0.1, None]}
    text = as_json(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json([float("nan")])


def test_the_browser_may_run_the_scripts_of_the_page_and_nothing_else(run, column) -> None:
    run.add(column())
    found = read(run)
    (policy,) = (
        attrs["content"]
        for tag, attrs in found.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for attrs, text in found.scripts
        if "type" not in attrs
    }
    assert set(rules["script-src"].split()) == hashes
    assert len(hashes) == 2
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == "'none'"


def test_the_page_points_to_nothing_but_itself_and_the_drawings_beside_it(run, column) -> None:
    run.add(column())
    drawn = [{"title": "One <b>", "files": [Path("/x/a b.png"), Path("/x/a b.svg")]}]
    found = Elements(page_of(run.path, drawn))
    targets = [
        value for _, attrs in found.tags for name, value in attrs.items() if name in ("href", "src")
    ]
    inside = [target for target in targets if target.startswith("data:image/svg+xml;base64,")]
    assert len(inside) == 1
    assert {t for t in targets if t not in inside and not t.startswith("#")} == {
        "data:,",
        "a%20b.png",
        "a%20b.svg",
    }
    ids = {attrs["id"] for _, attrs in found.tags if "id" in attrs}
    assert {target[1:] for target in targets if target.startswith("#")} <= ids
    assert "One <b>: a b.png, a b.svg" in found.words


def test_the_page_opens_with_the_picture_of_the_column_that_is_known_best(run, column) -> None:
    run.add(column(column_id="few", width=16)[:4])
    run.add(column(column_id="known", width=32))
    found = read(run)
    (picture,) = [attrs for tag, attrs in found.tags if tag == "img"]
    head, _, content = picture["src"].partition(",")
    assert head == "data:image/svg+xml;base64"
    drawing = base64.b64decode(content)
    assert drawing.startswith(b"<?xml")
    assert b"<script" not in drawing
    assert "32" in found.words.partition("In short")[2].partition("What it shows")[0]
    places = [found.words.index(text) for text in ("What it shows", "sharpness bends", "field")]
    assert places == sorted(places)


def test_the_opening_has_three_statements_at_most_and_each_is_decided(run, column) -> None:
    run.add(column())
    tables = Tables(run.path, 10)
    found = statements(tables.analysed("findings"))["decided"]
    opened = opening(tables, found)
    assert opened is not None
    assert 1 <= len(opened["statements"]) <= 3
    decided = [one["statement_id"] for one in found]
    shown = [one["statement_id"] for one in opened["statements"]]
    assert shown == [name for name in MATTER if name in decided][:3]


def test_without_gradient_descent_there_is_no_opening(run, column) -> None:
    run.add([row for row in column() if row["kind"] == "flow"])
    assert "In short" not in read(run).words


def test_scripts_never_end_early_and_plotly_has_its_licence() -> None:
    for name in (page.PLOTLY, *page.SCRIPTS):
        assert "</script" not in page.part(name).lower()
        assert "<!--" not in page.part(name)
    assert page.part("plotly-LICENSE").startswith("MIT License")


def test_a_copy_of_tables_alone_is_enough_and_stays_as_it_is(run, column, tmp_path) -> None:
    run.add(column(sweep="of a friend", git_commit="abc1234", git_dirty=True, hostname="n1"))
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(run.path / "trials", copy / "trials")
    before = sorted(copy.rglob("*"))
    for folder in (copy / "trials", copy):
        folder.chmod(0o500)
    path = write_page(copy, tmp_path / "page")
    for folder in (copy, copy / "trials"):
        folder.chmod(0o700)
    assert sorted(copy.rglob("*")) == before
    assert path == tmp_path / "page" / "index.html"
    words = Elements(path.read_text(encoding="utf-8")).words
    assert "analysis with these tables is missing" in words
    assert "holds Below ηc" in words
    assert "sweep file is not with" in words
    assert "No attempt has failed" in words
    assert "PyTorch trials not known abc1234 yes not known 6" in words
    assert "git checkout abc1234" in words
    assert "n1 not known not known 6 not known" in words


def _without_index(text: str) -> str:
    """Text as it is without the element that sets an index."""
    return text.replace("η_c", "ηc").replace("s_gf", "sgf")


def test_no_symbol_is_shown_with_an_underscore(run, column) -> None:
    for width in (16, 32):
        run.add(column(column_id=f"c{width}", width=width))
    drawn = [{"title": "Around η_c in time", "files": ["a.png"]}]
    found = Elements(page_of(run.path, drawn))
    assert "Around ηc in time" in found.words
    assert not re.search("η_c|s_gf", found.words)


def test_the_software_is_cited_with_its_author_its_year_and_its_address(
    run, column, monkeypatch
) -> None:
    run.add(column(finished_at=datetime(2026, 11, 28, tzinfo=UTC), version="0.1.0"))
    without = read(run).words
    entry = without.partition("@software")[2].partition("}</pre>")[0]
    assert "author = {{The eos-sweep maintainers}}" in entry
    assert "year = {2026}" in entry
    assert "url =" not in entry.partition("How to run it again")[0]
    metadata = Message()
    metadata["Project-URL"] = "Documentation, https://docs.invalid"
    metadata["Project-URL"] = "Repository, https://code.invalid/eos-sweep"
    monkeypatch.setattr("importlib.metadata.metadata", lambda name: metadata)
    known = read(run).words
    assert "url = {https://code.invalid/eos-sweep}" in known
    assert "git clone https://code.invalid/eos-sweep" in known


def test_running_it_again_begins_with_an_installation(run, column) -> None:
    run.add(column(git_commit="abc1234"))
    words = read(run).words.partition("How to run it again")[2]
    steps = ("git checkout abc1234", "pip install", "eos run", "eos analyze", "eos report")
    assert sorted(steps, key=words.index) == list(steps)


def test_every_finding_is_there_with_its_verdict_and_its_number(run, column) -> None:
    run.add(column())
    analyze(run.path)
    found = read(run)
    assert "analysis with these tables is missing" not in found.words
    rows = query(
        run.path,
        "SELECT statement, verdict, numbers FROM findings WHERE n_decided + n_undecided > 0",
    ).to_pylist()
    assert {row["verdict"] for row in rows} == {"holds", "does not hold", "undecided"}
    for row in rows:
        statement, numbers = (_without_index(row[name]) for name in ("statement", "numbers"))
        said = found.words.partition(f"{row['verdict']} {statement}")[2]
        assert said.lstrip().startswith(numbers), row
    assert "The run has no" not in found.words


def test_the_same_tables_give_the_same_bytes(run, column) -> None:
    for width in (16, 32):
        run.add(column(column_id=f"c{width}", width=width, wall_s=0.1, hostname=f"n{width}"))
    assert page_of(run.path) == page_of(run.path)


def test_runs_are_counted_by_what_became_of_them(run, column) -> None:
    rows = column(epsilons=(0.1,))
    rows[1] |= {"status": "diverged", "sharpness": None, "sharpness_converged": None}
    rows[2] |= {"status": "max_steps"}
    rows[3] |= {"sharpness_converged": False}
    rows[4] |= {"sharpness": 1000.0}
    rows[5] |= {"sharpness": None}
    run.add(rows)
    found = read(run)
    for rule in (
        "Diverged",
        "Stopped short",
        "not measured",
        "did not converge",
        "Chance crossing",
    ):
        after = found.words.partition("Left out of fits")[2].partition(rule)[2]
        assert next(word for word in after.split() if word.isdigit()) == "1", rule
    marks = [found.data["markers"][marker] for marker in found.data["crossings"]["marker"]]
    assert [mark["label"] for mark in marks] == [
        *("diverged", "stopped short of ε", "S not converged", "chance crossing", "S not measured")
    ]
    assert [mark["drawn"] for mark in marks] == ["above", "below", "hollow", "hollow", "hollow"]
    assert "excluded from the analysis" in found.words


def test_a_trial_that_failed_is_said_with_its_error_and_host(run, column) -> None:
    run.add(column())
    failed = {"outcome": "failed", "failure_class": "out_of_memory", "error": "no memory\nleft"}
    lost = {"trial_id": "lost", **failed, "hostname": "n7"}
    run.add([{**lost, "attempt": 1}, {**lost, "attempt": 2}], "attempts")
    words = read(run).words
    assert "6 settled" in words
    assert "1 that failed" in words
    assert "1 trial failed" in words
    assert "failed out_of_memory no memory left n7 2 1" in words


def test_a_run_without_trials_has_a_page_that_says_so(run) -> None:
    run.add([{"trial_id": "a", "outcome": "failed", "error": "no GPU"}], "attempts")
    found = read(run)
    assert found.words.count("No trial has settled yet.") == 3
    assert "no GPU" in found.words
    assert found.data["columns"] == []


def test_of_many_columns_some_are_in_the_figures_and_that_is_said(run, column, monkeypatch) -> None:
    for width in (8, 16, 32, 64):
        run.add(column(column_id=f"c{width}", width=width))
    monkeypatch.setattr(page, "MOST_COLUMNS", 3)
    found = read(run)
    assert "3 of 4 columns" in found.words
    assert len(found.data["columns"]) == 3


def test_numbers_of_the_figures_are_those_of_the_tables(run, column) -> None:
    run.add(column(epsilons=(0.1, 0.02)))
    data = read(run).data
    assert data["epsilons"]["values"] == ["0.02", "0.1"]
    places, crossings = data["places"], data["crossings"]
    at = places["epsilon"].index(1)
    assert (places["eta_c"][at], places["sharpness"][at], places["l1_norm"][at]) == (0.1, 20.0, 10)
    eta = [e for e, place in zip(crossings["eta"], crossings["place"], strict=True) if place == at]
    assert eta == [0.02, 0.05, 0.1, 0.2, 0.4]
    sharpness = [
        s
        for s, place in zip(crossings["sharpness"], crossings["place"], strict=True)
        if place == at
    ]
    assert sharpness == [20, 20, 20, 10, 5]


def test_axes_that_another_one_implies_are_no_filters(run, column) -> None:
    for name, base_width in (("standard", None), ("mup", 64)):
        run.add(column(column_id=name, parameterization=name, base_width=base_width))
    assert [axis["field"] for axis in read(run).data["axes"]] == ["parameterization"]


def test_a_column_at_the_base_width_is_the_same_under_the_other_parameterizations(
    run, column
) -> None:
    """As in the drawing of widths: of three networks two have a name of their own under mup."""
    for width in (16, 32):
        run.add(column(column_id=f"s{width}", width=width))
    for width in (32, 64):
        values = {"parameterization": "mup", "base_width": 16}
        run.add(column(column_id=f"m{width}", width=width, **values))
    data = read(run).data
    (names,) = [axis["values"] for axis in data["axes"] if axis["field"] == "parameterization"]
    also = {one["id"]: [names[n] for n in one["also"]] for one in data["columns"]}
    assert also == {"s16": ["mup"], "s32": [], "m32": [], "m64": []}


def test_values_that_read_alike_are_told_apart(run, column) -> None:
    for number in range(2):
        run.add(column(column_id=f"c{number}", dataset=f"{'x' * 30}{number}{'y' * 30}"))
    (axis,) = read(run).data["axes"]
    assert len(set(axis["values"])) == 2


def add_path(run, steps: int) -> None:
    run.add(
        [
            {
                "trial_id": "c0ffee-gd-0.05",
                "column_id": "c0ffee",
                "step": step,
                "time": 0.05 * step,
                "train_loss": 1 / (1 + step),
                "sharpness": 30.0 + (-1) ** step * (10 if step == 777 else 1),
            }
            for step in range(steps)
        ],
        "trajectories",
    )


def test_a_long_run_keeps_its_lowest_and_highest_sharpness_in_few_points(
    run, column, monkeypatch
) -> None:
    run.add(column(epsilons=(0.1,)))
    add_path(run, 5000)
    (path,) = read(run).data["paths"]["trials"]
    assert len(path["time"]) <= curves.MOST_POINTS
    assert (min(path["sharpness"]), max(path["sharpness"])) == (20.0, 31.0)
    assert (path["eta"], path["ratio"]) == (0.05, 0.5)
    monkeypatch.setattr(curves, "ALL_POINTS", 60)
    (path,) = read(run).data["paths"]["trials"]
    assert len(path["time"]) <= 60


def test_a_trial_that_was_lost_with_its_process_has_no_result(run, column) -> None:
    run.add(column())
    lost = {"outcome": "lost", "failure_class": "node_failure", "error": "the process died"}
    run.add([{"trial_id": "z", "attempt": 1, **lost}], "attempts")
    assert "1 trial failed" in read(run).words


@pytest.mark.parametrize(
    ("commit", "is_said"), [("0123abc", True), ("a" * 40, True), ("a;curl x|sh", False)]
)
def test_a_command_to_paste_has_nothing_from_the_tables_but_a_commit(
    run, column, commit: str, is_said: bool
) -> None:
    run.add(column(git_commit=commit))
    assert (f"git checkout {commit}" in read(run).words) == is_said


def test_a_run_whose_critical_rate_is_not_known_is_not_drawn_in_time(run, column) -> None:
    rows = column(epsilons=(0.1,))
    for row in rows:
        row["eta_c"] = None if row["eta"] == 0.05 else row["eta_c"]
    run.add(rows)
    add_path(run, 5)
    assert read(run).data["paths"]["trials"] == []
