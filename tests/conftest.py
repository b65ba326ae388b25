"""What all tests share: which of them are real runs, and that in CI a skipped test has failed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("EOS_REQUIRE_ALL"):
    # The verdict on a commit depends on the commit alone; elsewhere every run looks for more.
    settings.load_profile("ci")

TESTS = Path(__file__).parent

SLOW = {
    *(
        "test_scripts",
        "test_process_group",
        "test_listening_addresses",
        "test_checkpoint",
        "test_batch",
        "test_golden",
    ),
    *("test_rkc2", "test_flow", "test_trial", "test_parameterization", "test_second_library"),
    *("test_runs", "test_damage", "test_actor", "test_compact", "test_query", "test_valleys"),
    *("test_transition", "test_draw", "test_figures", "test_page", "test_notebook", "test_run"),
    *("test_flow_tolerance", "test_flow_reference", "test_edge_of_stability"),
    *("test_diagonal_guide",),
}
"""Files of unit tests that take more than a few seconds; `make test-quick` leaves them out."""

# Ray gives its workers a low priority, at which tests beside them would starve them.
os.environ.setdefault("RAY_worker_niceness", "0")

REAL = [TESTS / name for name in ("integration", "slurm")]
"""Folders of tests that start processes of their own."""

FIRST = (
    *("test_disturbances", "test_kills", "test_ranks", "test_loopback", "test_time_limit"),
    *("test_scripts", "test_ray_deaths"),
)
"""Files in the order in which they begin: the longest first, so that none of them runs alone at the
end. A process that has two tests left is given one more file, which waits for these: behind the
first, which has two, comes a short one."""


def pytest_configure(config: pytest.Config) -> None:
    """A data root for all tests where there is none, in which the first run keeps what batches save
    here: no other has to measure it, beside other tests.
    """
    if "EOS_DATA" not in os.environ:
        os.environ["EOS_DATA"] = root = tempfile.mkdtemp(prefix="eos-data-")
        config.add_cleanup(lambda: shutil.rmtree(root, ignore_errors=True))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: a process more than CPUs, for those that wait for what they started."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what `-m 'not MARK'` would deselect as a whole: not importing it is cheaper."""
    without = [term.strip() for term in config.getoption("markexpr").split(" and ")]
    real = collection_path in REAL and "not integration" in without
    slow = collection_path.stem in SLOW and "not slow" in without
    return True if real or slow else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in REAL):
            item.add_marker(pytest.mark.integration)
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)

    def turn(item: pytest.Item) -> tuple[int, bool]:
        stem = item.path.stem
        first = FIRST.index(stem) if stem in FIRST else len(FIRST)
        return first, item.get_closest_marker("slurm") is None

    items.sort(key=turn)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn skipped tests into a failure where everything is to be switched on."""
    if not os.environ.get("EOS_REQUIRE_ALL"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and exitstatus == 0:
        reporter.write_line(f"EOS_REQUIRE_ALL: {len(skipped)} tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(autouse=True)
def not_in_the_clone(
    request: pytest.FixtureRequest, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unit tests have a working directory of their own: what was run in the clone must not count,
    such as the run directory that `make quickstart` leaves there.
    """
    if request.node.get_closest_marker("integration") is None:
        monkeypatch.chdir(elsewhere)


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    from support.runs import SMALL, Run  # with torch and Ray, which few tests need

    made: list[Run] = []

    def make(name: str = "a", text: str = SMALL, like: Run | None = None) -> Run:
        """A run that has not begun, or one at the point that another has reached."""
        folder = tmp_path / name
        folder.mkdir()
        made.append(Run(folder, text))
        if like is not None:
            shutil.copytree(like.path, made[-1].path)
        return made[-1]

    yield make
    for run in made:
        run.end()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small sweep, run once without any disturbance."""
    from support.runs import Run

    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.run()
    return run


@pytest.fixture(scope="session")
def two_rates(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small sweep with two rates; tests go on from copies."""
    from support.runs import TWO_RATES, Run

    run = Run(tmp_path_factory.mktemp("two-rates"))
    run.run(*TWO_RATES)
    return run
