"""Which build of PyTorch the set-up takes, and that an index out of reach costs one sentence."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "torch_index.py"
NO_PROGRAM = ("/nowhere/nvidia-smi",)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_index", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


torch_index = _load()
CPU = ["--extra-index-url", "https://download.pytorch.org/whl/cpu"]


@pytest.mark.parametrize(
    ("asked", "gpu", "expected"),
    [
        ("", False, CPU),
        ("", True, []),
        ("cpu", True, CPU),
        ("cpu", False, CPU),
        ("cuda", False, []),
        ("cuda", True, []),
    ],
)
def test_the_build_fits_the_machine_unless_another_is_asked_for(
    asked: str, gpu: bool, expected: list[str]
) -> None:
    said: list[str] = []
    found = torch_index.options(asked, lambda: gpu, lambda url: None, said.append)
    assert (found, said) == (expected, [])


def test_an_index_out_of_reach_costs_one_sentence() -> None:
    said: list[str] = []
    assert torch_index.options("", lambda: False, lambda url: "no route", said.append) == []
    (sentence,) = said
    assert CPU[1] in sentence
    assert "no route" in sentence


def test_the_cuda_build_asks_no_index() -> None:
    def reach(url: str) -> str | None:
        raise AssertionError(url)

    assert torch_index.options("cuda", lambda: False, reach) == []


@pytest.mark.parametrize("made", ["dev/nvidia0", "proc/driver/nvidia"])
def test_a_gpu_is_known_by_its_driver(tmp_path: Path, made: str) -> None:
    assert not torch_index.has_gpu(tmp_path, NO_PROGRAM)
    (tmp_path / made).parent.mkdir(parents=True)
    (tmp_path / made).touch()
    assert torch_index.has_gpu(tmp_path, NO_PROGRAM)


@pytest.mark.parametrize(
    ("code", "gpu"),
    [
        ("print('GPU 0: NVIDIA H100')", True),
        ("print('No devices were found')", False),
        ("print('GPU'); raise SystemExit(9)", False),
    ],
)
def test_a_gpu_is_known_by_what_nvidia_smi_lists(tmp_path: Path, code: str, gpu: bool) -> None:
    assert torch_index.has_gpu(tmp_path, (sys.executable, "-c", code)) is gpu


def test_another_build_is_refused_in_one_sentence() -> None:
    ended = subprocess.run([sys.executable, SCRIPT, "rocm"], capture_output=True, text=True)
    expected = "TORCH is rocm; it must be cpu or cuda\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", expected)


class _Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/simple/torch/" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_index_that_answers_is_in_reach(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert torch_index.obstacle(f"{index}/simple", seconds=60.0) is None
    assert "Not Found" in torch_index.obstacle(f"{index}/other", seconds=60.0)


def test_one_that_refuses_or_never_answers_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "refused" in torch_index.obstacle(url, seconds=60.0)
        silent.listen()  # it takes connections and says nothing
        assert torch_index.obstacle(url, seconds=0.2) in ("timed out", "no answer within 0.2 s")


def test_make_passes_on_what_was_asked_for() -> None:
    """Nothing is installed: make only says what it would do."""
    for choice in ("", "cpu", "cuda"):
        said = subprocess.run(
            ["make", "--dry-run", "--always-make", ".venv/installed-dev", f"TORCH={choice}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        (line,) = [line for line in said.splitlines() if "--editable" in line]
        assert f".ci/torch_index.py {choice})" in line
