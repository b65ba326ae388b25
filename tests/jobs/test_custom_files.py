"""What the file of a network of the user's own may import, print and raise."""

import importlib
import re
import signal
import sys

import pytest
import torch
from support.custom_networks import FILE, HEAD, SHAPE, body, refusal

from jobs import OngoingTrial, Problem, models
from jobs.models.custom import register
from jobs.network_requirements import NetworkError

ALONE = f"{HEAD}\ndef make(outputs):\n    WHEN\n"
ALONE += "    return nn.Sequential(nn.Flatten(), Layer(64, outputs))\n"
ALONE += "class Layer(nn.Linear):\n    def forward(self, inputs):\n        THEN\n"
ALONE += "        return super().forward(inputs)\n"
IMPORT = "from beside import WIDTH"
PLACES = pytest.mark.parametrize(
    "text",
    [
        f"{{}}\n{ALONE.replace('WHEN', '').replace('THEN', '')}",
        ALONE.replace("WHEN", "{}").replace("THEN", ""),
        ALONE.replace("WHEN", "").replace("THEN", "{}"),
    ],
    ids=["file", "factory", "forward"],
)


@PLACES
@pytest.mark.parametrize("folder", ["", ".", "absolute"])
def test_a_file_beside_it_is_not_found(own, tmp_path, monkeypatch, text, folder):
    (tmp_path / "beside.py").write_text("WIDTH = 32\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path) if folder == "absolute" else folder)
    says = refusal(own, text.format(IMPORT) + f"# {folder}\n")
    assert "ModuleNotFoundError: No module named 'beside' is among the installed" in says
    assert says.endswith("the file must need no other file of yours")
    assert importlib.import_module("beside").WIDTH == 32  # others find it as before
    del sys.modules["beside"]


@PLACES
def test_the_folder_of_a_file_cannot_be_put_in_the_path(own, tmp_path, monkeypatch, text):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside.py").write_text("WIDTH = 32\n")
    start = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
    assert "No module named 'beside'" in refusal(own, start + text.format(IMPORT))


@PLACES
def test_installed_packages_are_found(own, problem, text):
    found = "import importlib.metadata, importlib.util, colorsys, numpy, torch.fft; "
    found += "assert importlib.metadata.version('numpy') == numpy.__version__; "
    found += "assert importlib.util.find_spec('not_there_at_all') is None"
    sys.modules.pop("colorsys", None)
    models.build(problem(architecture=own(text.format(found))), SHAPE)


@PLACES
@pytest.mark.parametrize("ends", ["sys.exit('bye')", "raise GeneratorExit('bye')"])
def test_a_file_does_not_end_the_process(own, text, ends):
    says = refusal(own, f"import sys\n{text.format(ends)}")
    assert re.search(r"network\.py.* failed: (SystemExit|GeneratorExit): bye$", says)


@PLACES
def test_an_interruption_goes_through(own, problem, text):
    spec = problem(architecture=own(text.format("raise KeyboardInterrupt")))
    with pytest.raises(KeyboardInterrupt):
        models.build(spec, SHAPE)


@PLACES
def test_a_signal_that_arrives_meanwhile_goes_through(own, problem, text):
    def handler(*_):
        sys.exit("told to end")

    before = signal.signal(signal.SIGTERM, handler)
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    try:
        with pytest.raises(SystemExit, match="told to end"):
            models.build(problem(architecture=own(text.format(kill))), SHAPE)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_end_of_the_process_within_a_trial_fails_the_trial(own, trial, monkeypatch):
    text = ALONE.replace("WHEN", "").replace("THEN", "if STOP: raise SystemExit('bye')")
    run = OngoingTrial(trial(architecture=own(f"STOP = []\n{text}")), threads=1)
    digest = run.trial.problem.architecture[-16:]
    sys.modules[f"_eos_network_{digest}"].STOP.append(1)
    says = r"^network network\.py:make: its forward pass failed: SystemExit: bye$"
    with pytest.raises(NetworkError, match=says):
        run.advance()


@PLACES
def test_what_it_prints_is_no_output_of_ours(own, problem, capsys, text):
    network = models.build(problem(architecture=own(text.format("print('hello')"))), SHAPE)
    network(torch.ones(1, 64, dtype=torch.float64))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "hello" in printed.err


def test_annotations_are_those_that_python_makes(own, problem):
    text = "def width(n: int): ...\nassert width.__annotations__ == {'n': int}\n"
    models.build(problem(architecture=own(text + FILE)), SHAPE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            body("1 / 0"),
            "network network.py:make: the factory failed: ZeroDivisionError: division by zero",
        ),
        (
            "def make(:\n",
            "network file network.py failed: SyntaxError: invalid syntax (line 1)",
        ),
        (
            body("nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))", "outputs, /"),
            "network network.py:make: the factory takes 'outputs' by its position alone; it must "
            "take it by name: remove the / behind it",
        ),
        (
            body("nn.Sequential(nn.Flatten(), NAN)"),
            "network network.py:make: parameter network.1.weight has initial values that are not "
            "finite",
        ),
        (
            body("Complex()"),
            "network network.py:make: parameter network.weight is of torch.complex64; it must be "
            "of real numbers",
        ),
        (
            body("Single(64, outputs)"),
            "network network.py:make: outputs are of torch.float32 for parameters and inputs of "
            "torch.float64; they must be of the same",
        ),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
def test_an_error_names_the_file_once_as_its_user_does(own, tmp_path, text, says, kept):
    text = text.replace("NAN", "not_a_number(nn.Linear(64, outputs))")
    text += "\ndef not_a_number(layer):\n    layer.weight.data[0, 0] = float('nan')\n"
    text += "    return layer\n"
    text += "\nclass Complex(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    text += "        self.weight = nn.Parameter(torch.ones(3, dtype=torch.complex64))\n"
    text += "class Single(nn.Linear):\n    def forward(self, inputs):\n"
    text += "        return super().forward(inputs.flatten(1)).float()\n"
    architecture = own(f"{text}# {kept}\n")
    if kept:  # as a run directory has it
        copy = tmp_path / f"{architecture[-16:]}.py"
        copy.write_bytes((tmp_path / "network.py").read_bytes())
        register(architecture[-16:], copy)
    with pytest.raises(NetworkError) as refused:
        models.build(Problem(dataset="digits", n_train=5, architecture=architecture), SHAPE)
    assert str(refused.value) == says


def test_constants_of_another_dtype_than_the_problem_s_are_refused(own, problem):
    text = f"{HEAD}\nONES = torch.ones(64, 64, dtype=torch.float64)\n"
    text += "class Net(nn.Linear):\n    def forward(self, inputs):\n"
    text += "        return super().forward(inputs.flatten(1) @ ONES)\n"
    text += "def make(outputs):\n    return Net(64, outputs)\n"
    architecture = own(text)
    models.build(problem(architecture=architecture, dtype="float64"), SHAPE)
    with pytest.raises(NetworkError, match=r"the network failed: RuntimeError: .*same dtype"):
        models.build(problem(architecture=architecture, dtype="float32"), SHAPE)
