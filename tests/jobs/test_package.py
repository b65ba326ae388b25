import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import jobs
from jobs.whole_file import SUFFIX, temporary_name, write_whole


def test_the_example_of_the_package_runs():
    outcome = doctest.testmod(jobs)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_specs_load_without_torch():
    code = "import sys, jobs, jobs.spec; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    root = Path(jobs.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_every_promised_name_is_there():
    assert all(hasattr(jobs, name) for name in jobs.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = jobs.nonsense


def test_a_whole_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    write_whole(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("ne")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_is_hidden_beside_its_target(tmp_path):
    name = temporary_name(tmp_path / "file")
    assert name.parent == tmp_path
    assert name.name.startswith(".file.")
    assert name.suffix == SUFFIX
