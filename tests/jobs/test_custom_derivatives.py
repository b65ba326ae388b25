"""Networks of the user's own are tried beside their initial values, where faults show."""

import pytest
from support.custom_networks import HEAD, SHAPE, refusal

from jobs import models

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
    assert says in refusal(own, f"{ZERO_HEAD}\n{changed}\n")


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
def test_networks_of_common_layers_are_accepted(own, problem, name, width):
    text = f"import torch\nfrom torch import nn\n{CLEAN[name]}"
    models.build(problem(architecture=own(text), width=width, activation="relu"), SHAPE)
