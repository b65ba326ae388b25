"""Networks of the user's own: what is called, what is refused, and a whole trial of one."""

import importlib
import re
import signal
import sys

import pytest
import torch

from jobs import Problem, TrialRun, models, run_trial
from jobs.admission import NetworkError
from jobs.datasets import Shape
from jobs.hessian import Hessian
from jobs.models.own import register
from jobs.models.own_file import SEED
from jobs.parameterization import initial_parameters, multipliers
from jobs.parameters import Layout
from jobs.problem import pose
from jobs.spec.digest import digest_of

HEAD = """
import torch
from torch import nn

class Bilinear(nn.Module):
    def __init__(self, channels, width, outputs):
        super().__init__()
        self.mix = nn.Conv2d(channels, width, 3)
        self.gate = nn.Parameter(torch.randn(width))
        self.register_buffer("shift", torch.tensor(0.5))
        self.out = nn.Linear(width, outputs)

    def forward(self, images):
        assert images.dim() == 4
        return self.out((self.mix(images).tanh() + self.shift).mean((2, 3)) * self.gate)
"""
FILE = f"{HEAD}\ndef make(width, *, shape, outputs, spare=1):\n"
FILE += "    return Bilinear(shape[0], width, outputs)\n"
SHAPE = Shape((1, 8, 8), 10)


@pytest.fixture
def own(tmp_path):
    """The architecture of a registered file with these contents."""

    def write(text, factory="make"):
        path = tmp_path / "network.py"
        path.write_text(text)
        digest = digest_of(path.read_bytes())
        register(digest, path)
        return f"network.py:{factory}@{digest}"

    return write


def _body(body, signature="outputs"):
    return f"{HEAD}\ndef make({signature}):\n    return {body}\n"


def _refusal(own, text, shape=SHAPE, **kwargs):
    problem = Problem(dataset="digits", n_train=5, architecture=own(text, **kwargs))
    with pytest.raises(NetworkError) as refused:
        models.build(problem, shape)
    return str(refused.value)


def test_a_network_gets_samples_in_their_shape_and_the_sizes_that_it_names(own, problem):
    spec = problem(architecture=own(FILE), width=7)
    network = models.build(spec, SHAPE)
    assert Layout.of(network).shapes == ((7,), (7, 1, 3, 3), (7,), (10, 7), (10,))
    assert network(torch.ones(4, 64, dtype=torch.float64)).shape == (4, 10)


def test_all_sizes_can_be_asked_for(own, problem):
    text = "from torch import nn\nasked = []\ndef make(shape, activation, outputs, depth, width):\n"
    text += "    asked.append((shape, activation, outputs, depth, width))\n"
    text += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))\n"
    spec = problem(architecture=own(text), width=7, depth=3, activation="elu")
    models.build(spec, SHAPE)
    module = sys.modules[f"_eos_network_{spec.architecture[-16:]}"]
    assert set(module.asked) == {((1, 8, 8), "elu", 10, 3, 7)}


def test_theta0_is_drawn_by_the_factory_from_the_seed(own, problem):
    spec = problem(architecture=own(FILE), seed=3, dtype="float32")
    theta = initial_parameters(spec, SHAPE)
    assert torch.equal(theta, initial_parameters(spec, SHAPE))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = sys.modules[f"_eos_network_{spec.architecture[-16:]}"].Bilinear(1, 8, 10)
    expected = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    assert torch.equal(theta, expected)


def test_constants_have_the_dtype_of_the_problem(own, problem):
    network = models.build(problem(architecture=own(FILE)), SHAPE)
    assert network.network.shift.dtype == torch.float64


def test_a_whole_trial(own, trial):
    spec = trial(0.1, architecture=own(FILE), epsilons=(0.44,))
    result = run_trial(spec, threads=1)
    assert result.crossings[0].status == "reached"
    assert result.crossings[0].sharpness_converged
    train, _, theta = pose(spec.problem)
    vector = torch.randn(theta.shape, generator=torch.Generator().manual_seed(1)).double()
    h = 1e-5
    above, below = (train.gradient(theta + sign * h * vector)[1] for sign in (1, -1))
    product = Hessian(train, theta) @ vector
    assert float((product - (above - below) / (2 * h)).norm()) <= 1e-8 * float(product.norm())


def test_it_scales_with_the_width_as_networks_of_this_package(own, problem):
    spec = problem(architecture=own(FILE), width=32, parameterization="mup", base_width=8)
    assert multipliers(spec, SHAPE) == {
        "network.gate": 2.0,
        "network.mix.weight": 2.0,
        "network.mix.bias": 2.0,
        "network.out.weight": 0.5,
    }


def test_a_file_that_was_changed_is_refused(own, problem, tmp_path):
    architecture = own(FILE + "# another\n")
    (tmp_path / "network.py").write_text(FILE + "# changed since\n")
    with pytest.raises(NetworkError, match=r"network\.py has the digest .*; it must be .*changed"):
        models.build(problem(architecture=architecture), SHAPE)


def test_a_file_that_is_not_there_is_refused(own, problem, tmp_path):
    architecture = own(FILE + "# gone\n")
    (tmp_path / "network.py").unlink()
    with pytest.raises(NetworkError, match=r"network\.py cannot be read: No such file.*/network"):
        models.build(problem(architecture=architecture), SHAPE)
    nowhere = f"other.py:make@{'0' * 16}"
    with pytest.raises(NetworkError, match="no file of digest 0000000000000000 is registered"):
        models.build(problem(architecture=nowhere), SHAPE)


def test_a_file_that_fails_is_named(own):
    says = _refusal(own, "import nonsense_that_is_not_there\n")
    assert "network.py failed: ModuleNotFoundError: No module named" in says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "there is no function make in the file"),
        (_body("1 / 0"), "the factory failed: ZeroDivisionError"),
        (_body("[]"), "the factory returned list; it must return a torch.nn.Module"),
        (
            _body("nn.Flatten()", "outputs, heads"),
            "the factory asks for 'heads'; it can have width",
        ),
        (_body("nn.Flatten()"), "it has no trainable parameters"),
        (
            _body("nn.Sequential(nn.Flatten(), nn.Linear(64, 3))"),
            r"outputs are (3, 3); for inputs of shape (3, 1, 8, 8) they must be of shape (3, 10)",
        ),
        (
            _body("nn.Linear(64, outputs)"),
            "on 3 inputs of shape (1, 8, 8) the network failed: RuntimeError: mat1 and mat2",
        ),
        (
            _body("nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, outputs))"),
            "module network.1 is BatchNorm1d in training mode, which mixes the samples",
        ),
        (
            HEAD
            + "class Mixing(nn.Linear):\n    def forward(self, inputs):\n"
            + "        return super().forward(inputs.flatten(1) - inputs.mean())\n"
            + "def make(outputs):\n    return Mixing(64, outputs)\n",
            "the outputs of a sample depend on the others",
        ),
        (
            HEAD
            + "class Noisy(nn.Linear):\n    def forward(self, inputs):\n"
            + "        return super().forward(inputs.flatten(1)) + torch.rand(1)\n"
            + "def make(outputs):\n    return Noisy(64, outputs)\n",
            "or on chance",
        ),
        (
            HEAD
            + "import random\ndef make(outputs):\n    network = nn.Linear(64, outputs)\n"
            + "    network.weight.data.fill_(random.random())\n    return network\n",
            "two calls after torch.manual_seed gave different values of network.weight",
        ),
        (
            HEAD
            + "class Once(torch.autograd.Function):\n    @staticmethod\n"
            + "    def forward(ctx, x):\n        ctx.save_for_backward(x)\n        return x**2\n"
            + "    @staticmethod\n    @torch.autograd.function.once_differentiable\n"
            + "    def backward(ctx, g):\n        return 2 * g * ctx.saved_tensors[0]\n"
            + "class Net(nn.Linear):\n    def forward(self, inputs):\n"
            + "        return Once.apply(super().forward(inputs.flatten(1)))\n"
            + "def make(outputs):\n    return Net(64, outputs)\n",
            "its Hessian products are not the differences of its gradients",
        ),
    ],
)
def test_networks_that_cannot_be_used_are_refused_by_name(own, text, says):
    found = _refusal(own, text)
    assert "network.py:make: " in found
    assert says in found


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
    says = _refusal(own, text.format(IMPORT) + f"# {folder}\n")
    assert "ModuleNotFoundError: No module named 'beside' is among the installed" in says
    assert says.endswith("a network's file must need no other file of yours")
    assert importlib.import_module("beside").WIDTH == 32  # others find it as before
    del sys.modules["beside"]


@PLACES
def test_the_folder_of_a_file_cannot_be_put_in_the_path(own, tmp_path, monkeypatch, text):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside.py").write_text("WIDTH = 32\n")
    start = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
    assert "No module named 'beside'" in _refusal(own, start + text.format(IMPORT))


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
    says = _refusal(own, f"import sys\n{text.format(ends)}")
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
    run = TrialRun(trial(architecture=own(f"STOP = []\n{text}")), threads=1)
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
            _body("1 / 0"),
            "network network.py:make: the factory failed: ZeroDivisionError: division by zero",
        ),
        (
            "def make(:\n",
            "network file network.py failed: SyntaxError: invalid syntax (line 1)",
        ),
        (
            _body("nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))", "outputs, /"),
            "network network.py:make: the factory takes 'outputs' by its position alone; it must "
            "take it by name: remove the / behind it",
        ),
        (
            _body("nn.Sequential(nn.Flatten(), NAN)"),
            "network network.py:make: parameter network.1.weight has initial values that are not "
            "finite",
        ),
        (
            _body("Complex()"),
            "network network.py:make: parameter network.weight is of torch.complex64; it must be "
            "of real numbers",
        ),
        (
            _body("Single(64, outputs)"),
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


FEATURES = """
import functools
import itertools
import numpy as np
import torch
from torch import nn

class Features(nn.Module):
    def __init__(self, projection, outputs, keep):
        super().__init__()
        if keep == "buffer":
            self.register_buffer("projection", projection)
        elif keep == "frozen":
            self.projection = nn.Parameter(projection, requires_grad=False)
        else:
            self.projection = projection.double()
        self.head = nn.Linear(16, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
    def forward(self, inputs):
        z = inputs.flatten(1) @ self.projection.to(inputs.dtype)
        return self.head(z.tanh())
"""
MADE_IN_THE_FILE = "PROJECTION = torch.randn(64, 16) / 8"


def _with_features(made, keep="buffer", before=""):
    return f"{FEATURES}\n{before}\ndef make(outputs):\n" + (
        f"    return Features({made}, outputs, {keep!r})\n"
    )


@pytest.mark.parametrize("seeds", [(1, 2), (2, 1)])
def test_what_a_file_draws_while_it_is_imported_does_not_depend_on_the_seed(own, problem, seeds):
    text = _with_features("PROJECTION", before=MADE_IN_THE_FILE) + f"# first {seeds[0]}\n"
    architecture = own(text)
    found = {}
    for seed in seeds:
        network = models.build(problem(architecture=architecture, seed=seed), SHAPE)
        found[seed] = network.network.projection
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        expected = (torch.randn(64, 16) / 8).double()
    assert torch.equal(found[1], expected)
    assert torch.equal(found[2], expected)


def test_initial_values_that_are_not_drawn_are_taken(own, problem):
    text = f"{HEAD}\ndef make(outputs):\n    layer = nn.Linear(64, outputs)\n"
    text += "    nn.init.ones_(layer.weight)\n    nn.init.zeros_(layer.bias)\n"
    text += "    return nn.Sequential(nn.Flatten(), layer)\n"
    architecture = own(text)
    first, second = (
        initial_parameters(problem(architecture=architecture, seed=seed), SHAPE) for seed in (1, 2)
    )
    assert torch.equal(first, second)


KEPT = "NET = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))"


@pytest.mark.parametrize(
    "body", ["NET", "nn.Sequential(NET[0], NET[1])", "Tied(NET[1].weight)", "Beside(NET[1])"]
)
def test_a_factory_makes_a_new_network_each_time(own, body):
    text = f"{HEAD}\n{KEPT}\n"
    text += "class Tied(nn.Linear):\n    def __init__(self, weight):\n"
    text += "        super().__init__(64, 10)\n        self.weight = weight\n"
    text += "    def forward(self, inputs):\n        return super().forward(inputs.flatten(1))\n"
    text += "class Beside(nn.Linear):\n    def __init__(self, other):\n"
    text += "        super().__init__(64, 10)\n        self.other = other.requires_grad_(False)\n"
    text += "    def forward(self, inputs):\n        flat = inputs.flatten(1)\n"
    text += "        return super().forward(flat) + self.other(flat)\n"
    text += f"def make():\n    return {body}\n"
    assert "gave networks that share network" in _refusal(own, text)


def test_a_copy_of_what_the_file_keeps_is_a_new_network(own, problem):
    text = f"{HEAD}\nimport copy\n{KEPT}\ndef make():\n    return copy.deepcopy(NET)\n"
    models.build(problem(architecture=own(text)), SHAPE)


NUMPY = "torch.from_numpy(np.random.randn(64, 16))"
COUNT = "COUNT = itertools.count()"


@pytest.mark.parametrize("keep", ["buffer", "frozen", "attribute"])
@pytest.mark.parametrize(
    ("made", "before"),
    [
        (NUMPY, ""),
        ("torch.full((64, 16), 0.01 * next(COUNT))", COUNT),
        ("PROJECTION", f"PROJECTION = {NUMPY}"),
        ("projection()", "@functools.cache\ndef projection():\n    return torch.randn(64, 16)"),
    ],
    ids=["numpy", "count", "numpy in the file", "drawn by the first call"],
)
def test_constants_that_another_process_would_not_have_are_refused(own, keep, made, before):
    says = _refusal(own, _with_features(f"{made}.clone()", keep, before))
    what = "other outputs" if keep == "attribute" else "different values of network.projection"
    assert f"gave {what}" in says or f"gave networks with {what}" in says


def test_the_hash_of_theta0_is_that_of_constants_too(own, trial):
    def init_hash(factor):
        text = _with_features(f"{factor} * PROJECTION", before=MADE_IN_THE_FILE)
        return run_trial(trial(architecture=own(text), max_steps=1), threads=1).init_hash

    assert len({init_hash(1), init_hash(2)}) == 2


ZERO_HEAD = (
    HEAD
    + """
class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]

class Net(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs):
        return self.head(hidden(self.first(inputs.flatten(1))))

def make(width, outputs):
    network = Net(width, outputs)
    prepare(network)
    return network

def prepare(network):
    pass

def hidden(z):
    return z.tanh()
"""
)
WEIGHT_NORM = "network.first = nn.utils.parametrizations.weight_norm(network.first)"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ("def hidden(z):\n    return (z - z.mean(0)).tanh()", "depend on the others"),
        ("def hidden(z):\n    return nn.functional.dropout(z, 0.5, True)", "or on chance"),
        ("def hidden(z):\n    return Once.apply(z)", "its Hessian products"),
        ("def hidden(z):\n    return z * z.detach().sigmoid()", "its Hessian products"),
        (f"def prepare(network):\n    {WEIGHT_NORM}", "its Hessian products"),
    ],
    ids=["mixing", "chance", "once", "detached", "weight_norm"],
)
def test_a_head_that_starts_at_zero_hides_no_fault(own, changed, says):
    assert says in _refusal(own, f"{ZERO_HEAD}\n{changed}\n")


def test_a_head_that_starts_at_zero_is_no_fault(own, problem):
    models.build(problem(architecture=own(ZERO_HEAD)), SHAPE)


IMPORTED = """
from jobs import models
from jobs.datasets import Shape
from jobs.spec import Problem

def make(shape, outputs, width, depth, activation):
    sizes = {"width": width, "depth": depth, "activation": activation}
    problem = Problem(dataset="digits", n_train=1, architecture=NAME, **sizes)
    return nn.Sequential(nn.Flatten(), models._construct(problem, Shape(shape, outputs)))
"""
REUSED = """
class Net(nn.Module):
    def __init__(self, layer, width, outputs):
        super().__init__()
        self.embed, self.layer = nn.Linear(8, width), layer
        self.head = nn.Linear(width, outputs)
    def forward(self, images):
        found = self.layer(self.embed(images.flatten(1, 2)))
        return self.head((found[0] if isinstance(found, tuple) else found)[:, -1])
class Attention(nn.MultiheadAttention):
    def forward(self, tokens):
        return super().forward(tokens, tokens, tokens, need_weights=False)
def make(width, outputs):
    return Net(LAYER, width, outputs)
"""
CLEAN = {
    "fcn": IMPORTED.replace("NAME", "'fcn'"),
    "cnn": IMPORTED.replace("NAME", "'cnn'"),
    "resnet": IMPORTED.replace("NAME", "'resnet'"),
    "vit": IMPORTED.replace("NAME", "'vit'"),
    "lstm": REUSED.replace("LAYER", "nn.LSTM(width, width, batch_first=True)"),
    "attention": REUSED.replace("LAYER", "Attention(width, 2, batch_first=True)"),
    "encoder": REUSED.replace(
        "LAYER", "nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0, batch_first=True)"
    ),
    "layer norm": REUSED.replace("LAYER", "nn.Sequential(nn.LayerNorm(width), nn.GELU())"),
    "relu": """
def make(width, outputs):
    deep = [layer for _ in range(8) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), *deep, nn.Linear(width, outputs))
""",
    "convolutions": """
def make(width, outputs):
    deep = [layer for _ in range(4) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
    first = nn.Conv2d(1, width, 3), nn.GroupNorm(2, width)
    last = nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9 * width, outputs)
    return nn.Sequential(*first, *deep, *last)
""",
    "a branch that starts at zero behind a kink": """
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        nn.init.zeros_(self.branch[-1].weight)
        nn.init.zeros_(self.branch[-1].bias)
    def forward(self, x):
        return (x + self.branch(x)).relu()
def make(width, outputs):
    first = nn.Flatten(), nn.Linear(64, width), nn.ReLU()
    return nn.Sequential(*first, Block(width), nn.Linear(width, outputs))
""",
    "a root of a parameter": """
class Net(nn.Linear):
    def __init__(self, outputs):
        super().__init__(64, outputs)
        self.scale = nn.Parameter(torch.full((64,), 0.3))
    def forward(self, inputs):
        return super().forward(inputs.flatten(1) * self.scale.sqrt())
def make(outputs):
    return Net(outputs)
""",
}


@pytest.mark.parametrize("name", CLEAN)
@pytest.mark.parametrize("width", [8, 32])
def test_usual_networks_are_taken(own, problem, name, width):
    text = f"import torch\nfrom torch import nn\n{CLEAN[name]}"
    models.build(problem(architecture=own(text), width=width, activation="relu"), SHAPE)
