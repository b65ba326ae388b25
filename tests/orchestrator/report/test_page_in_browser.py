"""The page in a real browser: figures, filters, no network, accessible, no script let in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_for

from orchestrator.report.page import write_page

pytestmark = pytest.mark.integration

SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
PHONE, DESKTOP = (390, 844), (1280, 900)

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation",
  (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""
POINTS = """
(plot) => (plot.data || []).flatMap((trace) => trace.y).filter((y) => y !== null).length
"""
FRAMES = "requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(seen)))"
DRAWN = """
(figure) => figure.querySelector(".plot").data || !figure.querySelector(".empty").hidden
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page in the browser; ``said`` is what its console and its errors say."""

    page: Any
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, int]:
        """The points of each figure that is there, in its place, once all were seen."""
        found = {}
        for figure in self.page.locator("figure.figure:not([hidden])").all():
            name = figure.get_attribute("id")
            figure.scroll_into_view_if_needed()
            wait_for(lambda figure=figure: figure.evaluate(DRAWN))
            found[name] = figure.locator(".plot").evaluate(POINTS)
        return found

    def points(self, name: str) -> int:
        return self.page.locator(f"#{name} .plot").evaluate(POINTS)

    def shown(self) -> str:
        return self.page.locator("#shown").inner_text()

    def choose(self, label: str, value: str) -> None:
        self.page.evaluate("document.getElementById('choices').open = true")
        self.page.locator("#selects").get_by_label(label, exact=True).select_option(label=value)


@pytest.fixture
def visit(chromium):
    """Opens a file in a window of a size, as a new visitor does."""
    contexts = []

    def open_file(path: Path, size=DESKTOP, fragment: str = "", bypass_csp: bool = False) -> Opened:
        touch = size == PHONE
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            has_touch=touch,
            is_mobile=touch,
            bypass_csp=bypass_csp,
        )
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.said.append(message.text))
        opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.add_init_script(REPORT_VIOLATIONS)
        opened.page.goto(path.as_uri() + fragment)
        return opened

    yield open_file
    for context in contexts:
        context.close()


def path(column_id: str) -> list[dict[str, Any]]:
    """Three steps of two runs of a column."""
    return [
        {
            "trial_id": f"{column_id}-gd-{eta}",
            "column_id": column_id,
            "step": step,
            "time": eta * step,
            "train_loss": 1 / (1 + step),
            "sharpness": 2 / eta,
        }
        for eta in (0.02, 0.1)
        for step in range(3)
    ]


@pytest.fixture(scope="module")
def grid(new_run, column) -> Path:
    """The page of four columns: two widths and two parameterizations, with trajectories."""
    run = new_run()
    for width in (16, 32):
        for name in ("standard", "mup"):
            key = f"{name}-{width}"
            known = {"width": width, "parameterization": name}
            run.add(column(RATES, (0.1, 0.05), column_id=key, **known))
            run.add(path(key), "trajectories")
    failed = {"trial_id": "lost", "outcome": "failed", "error": "no memory left"}
    run.add([failed], "attempts")
    return write_page(run.path, run.path.parent / "page")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_figure_has_data_and_nothing_is_loaded_or_complained_about(visit, grid, size) -> None:
    opened = visit(grid, size)
    points = opened.figures()
    assert list(points) == ["transition", "loss", "time", "agreement", "trade", "widths"]
    assert min(points.values()) > 0
    assert opened.said == []
    assert opened.requests == [grid.as_uri()]
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]


def test_names_and_contrast_are_accessible_on_phone_and_desktop(visit, grid) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # The rules are a script of another origin, which the page's own policy refuses.
    opened = visit(grid, PHONE, bypass_csp=True)
    opened.page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    for width, height in (PHONE, DESKTOP):
        opened.page.set_viewport_size({"width": width, "height": height})
        assert min(opened.figures().values()) > 0
        found = axe.Axe().run(opened.page).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_filters_change_what_is_shown_and_the_address_remembers_them(visit, grid) -> None:
    opened = visit(grid)
    whole = opened.figures()
    assert opened.shown() == "shown: 4 of 4 columns"
    opened.choose("width", "16")
    assert opened.shown() == "shown: 2 of 4 columns"
    opened.choose("parameterization", "mup")
    assert opened.shown() == "shown: 1 of 4 columns"
    opened.page.locator("#trade").scroll_into_view_if_needed()
    solutions = len(RATES)
    wait_for(lambda: opened.points("trade") == solutions)
    assert whole["trade"] == 4 * solutions
    fragment = opened.page.evaluate("location.hash")
    assert fragment == "#width=16&parameterization=mup"
    again = visit(grid, fragment=fragment + "&units=eta&color=parameterization")
    assert again.shown() == "shown: 1 of 4 columns"
    again.figures()
    title = again.page.evaluate("document.querySelector('#loss .plot').layout.xaxis.title.text")
    assert title == "learning rate η"
    names = again.page.evaluate("document.querySelector('#loss .plot').data.map((t) => t.name)")
    assert names == ["parameterization = mup", "η<sub>c</sub>", "gradient flow"]
    again.page.evaluate("document.getElementById('choices').open = true")
    again.page.get_by_role("button", name="Show all").click()
    assert again.shown() == "shown: 4 of 4 columns"
    assert again.page.evaluate("location.hash") == ""
    assert (opened.said, again.said) == ([], [])


MARKED = """
(plot) => plot.data.filter((trace) => trace.marker && /-open$/.test(trace.marker.symbol))
  .map((trace) => [trace.marker.symbol, trace.name, trace.x.filter((x) => x !== null)])
"""


def test_excluded_runs_are_hollow_and_the_others_without_a_point_are_marks(
    visit, run, column, tmp_path
) -> None:
    """At 0.4 a chance crossing, at 0.01 one stopped short, at 0.2 one diverged."""
    for width in (16, 32):
        rows = column(RATES, (0.1,), column_id=f"w{width}", width=width)
        rows[-1]["sharpness"] = 1.6 * 2 / 0.4
        rows[1]["status"], rows[-2]["status"] = "max_steps", "diverged"
        run.add(rows)
    opened = visit(write_page(run.path, tmp_path / "page"), fragment="#units=eta&width=16")
    opened.figures()
    for name in ("transition", "loss", "trade"):
        found = opened.page.locator(f"#{name} .plot").evaluate(MARKED)
        hollow = [at for symbol, _, at in found if symbol == "circle-open" and at]
        expected = [0.4] if name != "trade" else [1.6 * 2 / 0.4]
        assert hollow == [expected] * (2 if name == "transition" else 1)
        assert "excluded (chance crossing)" in [label for _, label, _ in found]
        marks = {
            label: at for symbol, label, at in found if symbol.endswith(("thin-open", "ns-open"))
        }
        drawn = {"diverged": [0.2], "stopped short of ε": [0.01]}
        assert marks == (drawn if name != "trade" else {})
    said = opened.page.locator("#trade .said").inner_text()
    assert said == "Without a point: 1 diverged, 1 stopped short of ε."
    opened.choose("width", "all")
    widths = opened.page.locator("#widths")
    widths.scroll_into_view_if_needed()
    wait_for(lambda: widths.evaluate(DRAWN))
    found = widths.locator(".plot").evaluate(MARKED)
    assert [at for _, label, at in found if label == "diverged"] == [[0.2, 0.2]]
    assert [at for symbol, _, at in found if symbol == "square-open"] == [[0.4]]
    assert opened.said == []


PANELS = """
(plot) => plot.data.filter((trace) => trace.name.startsWith("width = "))
  .map((trace) => [trace.yaxis, trace.name, trace.showlegend])
"""


@pytest.mark.parametrize(("chosen", "standard"), [("", True), ("#parameterization=mup", False)])
def test_the_base_width_is_in_the_panel_of_every_parameterization(
    visit, run, column, tmp_path, chosen, standard
) -> None:
    """And in the legend each width once, also one that the first panel lacks."""
    for width in (16, 32):
        run.add(column(RATES, (0.1,), column_id=f"s{width}", width=width))
    for width in (32, 64):
        values = {"parameterization": "mup", "base_width": 16}
        run.add(column(RATES, (0.1,), column_id=f"m{width}", width=width, **values))
    opened = visit(write_page(run.path, tmp_path / "page"), fragment=chosen)
    opened.figures()
    found = opened.page.locator("#widths .plot").evaluate(PANELS)
    panels: dict[str, list[str]] = {}
    for axis, name, _ in found:
        panels.setdefault(axis, []).append(name.removeprefix("width = "))
    expected = [["16", "32", "64"], ["16", "32"]] if standard else [["16", "32", "64"]]
    assert list(panels.values()) == expected
    in_legend = sorted(name for _, name, shown in found if shown)
    assert in_legend == ["width = 16", "width = 32", "width = 64"]
    assert opened.said == []


def test_parameterizations_of_one_width_each_have_no_figure_of_widths(
    visit, run, column, tmp_path
) -> None:
    for width, name in ((16, "standard"), (32, "ntk")):
        run.add(column(RATES, (0.1,), column_id=name, width=width, parameterization=name))
    opened = visit(write_page(run.path, tmp_path / "page"))
    assert "widths" not in opened.figures()
    assert opened.said == []


def test_an_open_box_of_filters_closes_when_the_page_scrolls_under_it(visit, grid) -> None:
    opened = visit(grid)
    box = opened.page.locator("#choices")
    assert box.get_attribute("open") is not None
    figure = opened.page.locator("#loss")

    def top() -> float:
        return figure.evaluate("(figure) => figure.getBoundingClientRect().top")

    figure.evaluate("(figure) => scrollTo(0, figure.offsetTop - 100)")
    wait_for(lambda: box.get_attribute("open") is None)
    assert top() == pytest.approx(100, abs=2)  # what is in view stays there
    covered = opened.page.locator("#filters").bounding_box()
    assert covered["y"] == 0
    assert covered["height"] < 80
    # Opened again where it sticks, it stays until the page scrolls on.
    opened.page.locator("#choices summary").click()
    opened.page.evaluate(f"new Promise((seen) => {FRAMES})")
    opened.page.evaluate("scrollBy(0, 20)")
    assert box.get_attribute("open") is not None
    opened.page.evaluate("scrollBy(0, 200)")
    wait_for(lambda: box.get_attribute("open") is None)
    assert opened.said == []


def test_a_choice_without_columns_is_said(visit, run, column, tmp_path) -> None:
    for name, width in (("relu", 16), ("tanh", 32)):
        run.add(column(column_id=name, activation=name, width=width))
    opened = visit(write_page(run.path, tmp_path), fragment="#activation=relu&width=32")
    opened.page.locator("#transition").scroll_into_view_if_needed()
    assert opened.shown() == "shown: 0 of 2 columns"
    empty = opened.page.locator("#transition .empty")
    empty.wait_for()
    assert empty.inner_text() == "What is chosen has no numbers for this figure."
    assert opened.said == []


def test_figures_zoom_by_button_and_have_their_numbers_in_a_table(visit, grid) -> None:
    opened = visit(grid, PHONE)
    opened.figures()
    figure = opened.page.locator("#loss")
    span = "(([low, high]) => high - low)(document.querySelector('#loss .plot').layout.xaxis.range)"
    before = opened.page.evaluate(span)
    figure.get_by_role("button", name="Zoom in").click()
    wait_for(lambda: opened.page.evaluate(span) < 0.7 * before)
    figure.get_by_role("button", name="Whole").click()
    wait_for(lambda: opened.page.evaluate(span) == pytest.approx(before))
    figure.locator("summary").click()
    rows = figure.locator("tbody tr")
    rows.first.wait_for()
    assert rows.count() == 4 * len(RATES)
    cells = rows.first.locator("td").all_inner_texts()
    heads = figure.locator("th").all_inner_texts()
    numbers = dict(zip(heads, cells, strict=True))
    assert (numbers["S·η/2"], numbers["outcome"]) == ("0.2", "counts")
    assert opened.said == []


def test_a_thumb_scrolls_past_a_figure_until_it_is_told_to_zoom(visit, grid) -> None:
    opened = visit(grid, PHONE)
    opened.figures()
    plot = opened.page.locator("#loss .plot")
    hand = opened.page.context.new_cdp_session(opened.page)

    def swipe() -> float:
        plot.evaluate("(plot) => plot.scrollIntoView({ block: 'center' })")
        before, box = opened.page.evaluate("scrollY"), plot.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        hand.send(
            "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
        )
        for step in range(1, 16):
            points = [{"x": x, "y": y - 10 * step}]
            hand.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
        hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        return at_rest() - before

    def at_rest() -> float:
        """Where the page stands when it scrolls no more: a tap before that only stops it."""
        last, now = None, opened.page.evaluate("scrollY")
        while now != last:
            opened.page.wait_for_timeout(200)
            last, now = now, opened.page.evaluate("scrollY")
        return now

    assert swipe() > 50
    button = opened.page.locator("#loss").get_by_role("button", name="Zoom by dragging")
    button.tap()
    wait_for(lambda: button.get_attribute("aria-pressed") == "true", 10)
    assert swipe() == 0
    assert opened.said == []


def test_what_a_table_contains_never_runs(visit, run, column, tmp_path) -> None:
    attack = "</script><script>window.hacked = 1</script>"
    image = "\"'><img src=x onerror='window.hacked = 1'>"
    link = "<a href='javascript:window.hacked=1'>η</a>\u2028"
    for number, name in enumerate((attack, image, link)):
        names = {"dataset": name, "activation": name, "loss": name, "architecture": name}
        run.add(column(column_id=f"{name}{number}", sweep=name, hostname=name, **names))
        run.add([{"trial_id": name, "outcome": "failed", "error": name}], "attempts")
    opened = visit(write_page(run.path, tmp_path / "page"))
    opened.choose("colour by", "dataset")
    opened.figures()
    opened.page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    opened.page.locator("#trade .numbers tbody td").first.wait_for()
    plot = opened.page.locator("#transition .plot")
    plot.scroll_into_view_if_needed()
    text = plot.evaluate("(plot) => plot.data[0].text[0]")
    assert "<br>" in text
    assert "<script" not in text
    assert opened.page.locator("img:not(.opening img), a[href^=javascript]").count() == 0
    assert opened.page.evaluate("window.hacked") is None
    assert attack in opened.page.locator("#failed").inner_text()
    assert opened.said == []
    assert len(opened.requests) == 1
