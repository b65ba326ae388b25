"""Every command holds a path against the same rules before it reads or makes a run directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sweeps import POINT

from orchestrator import open_run
from orchestrator import sweep as sweeps
from orchestrator.engine import check_directory, prepare
from orchestrator.reading import NotARunError
from orchestrator.run_directory import has_sweep, refuse_no_tables, sweep_of
from orchestrator.sweep import SweepError

SWEEP = sweeps.parse(POINT)
LONG = "a" * 300


def paths(folder: Path) -> dict[str, tuple[Path, str]]:
    """Paths where no run directory can be made, and why."""
    (folder / "file").touch()
    (folder / "link").symlink_to("nothing")
    (folder / "loop").symlink_to("loop")
    return {
        "file": (folder / "file", "it is a file"),
        "below": (folder / "file" / "run", "Not a directory"),
        "link": (folder / "link", "it is a link to nothing"),
        "loop": (folder / "loop", "Too many levels of symbolic links"),
        "long": (folder / LONG, "File name too long"),
        "zero": (folder / "a\0b", "no such name can exist"),
    }


@pytest.mark.parametrize("kind", ["file", "below", "link", "loop", "long", "zero"])
def test_a_path_that_can_be_no_run_directory_is_refused_with_the_reason(
    tmp_path: Path, kind: str
) -> None:
    path, reason = paths(tmp_path)[kind]
    for check in (check_directory, prepare):
        with pytest.raises(SweepError) as refused:
            check(path, SWEEP)
        assert str(refused.value) == (
            f"run directory is {str(path)!r}; it must be a folder or a free name ({reason})"
        )
    expected = f"{str(path)!r}; it must be a run directory, which eos run makes"
    for look in (refuse_no_tables, sweep_of):
        with pytest.raises(SweepError) as refused:
            look(path)
        assert str(refused.value).startswith(f"RUN is {expected}")
    with pytest.raises(NotARunError) as unopened:
        open_run(path)
    assert str(unopened.value).startswith(f"path is {expected}")
    assert not has_sweep(path)


def test_a_cut_sweep_of_a_run_is_named_with_its_file_and_a_way_out(tmp_path: Path) -> None:
    run = tmp_path / "a run"
    prepare(run, SWEEP)
    assert sweep_of(run) == SWEEP
    whole = (run / "sweep.yaml").read_text()
    for text in (whole[:60], "", whole.replace("epsilon", "epsilno")):
        (run / "sweep.yaml").write_text(text)
        for look in (lambda: sweep_of(run), lambda: check_directory(run, SWEEP)):
            with pytest.raises(SweepError) as refused:
                look()
            message = str(refused.value)
            assert message.startswith(f"{run / 'sweep.yaml'} is not as eos run wrote it (")
            assert message.endswith(
                "; move it away, and run the sweep that it was made from again with "
                f"--run-dir '{run}': all results stay"
            )
    (run / "sweep.yaml").rename(run / "cut.yaml")
    prepare(run, SWEEP)
    assert sweep_of(run) == SWEEP
