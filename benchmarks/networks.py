"""The networks that the benchmarks measure, alone and with a training set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cifar
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from jobs.curvature.memory import Chunks, Footprint, default_budget, plan
from jobs.losses import LOSS_SUMS
from jobs.objective import Objective
from jobs.parameters import Layout
from jobs.problem import CHUNK_BYTES, footprint_of
from jobs.process_group import Ranks


def fcn(activation: type[nn.Module] = nn.Tanh, width: int = 200, depth: int = 2) -> nn.Module:
    """3072 → ``depth`` × ``width`` → 10, with biases: 656,810 parameters by default."""
    layers: list[nn.Module] = []
    features = 3072
    for _ in range(depth):
        layers += [nn.Linear(features, width), activation()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


def cnn(channels: int = 32) -> nn.Module:
    """Two blocks of a 3×3 convolution, ReLU and 2×2 max-pooling, then a linear layer: 30,634."""
    return nn.Sequential(
        nn.Unflatten(1, (3, 32, 32)),
        nn.Conv2d(3, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(channels * 64, 10),
    )


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.to_qkv(self.norm(tokens)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int, mlp: int) -> None:
        super().__init__()
        self.attention = _Attention(dim, heads, head_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, mlp), nn.GELU(), nn.Linear(mlp, dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(tokens)
        return tokens + self.mlp(tokens)


class VisionTransformer(nn.Module):
    """Patches of 4×4, mean over tokens, a linear head; small by default."""

    def __init__(
        self, dim: int = 64, depth: int = 4, heads: int = 8, head_dim: int = 64, mlp: int = 256
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, dim), nn.LayerNorm(dim))
        self.position = nn.Parameter(torch.randn(64, dim) * 0.02)
        self.blocks = nn.Sequential(*(_Block(dim, heads, head_dim, mlp) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of shape (samples, 3072) to outputs of shape (samples, 10)."""
        images = inputs.unflatten(1, (3, 8, 4, 8, 4))
        patches = images.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        tokens = self.blocks(self.embed(patches) + self.position)
        return self.head(tokens.mean(dim=1))


def flat_parameters(module: nn.Module) -> Tensor:
    """θ of the module as it was initialised, shape (P,)."""
    return Layout.of(module).join([parameter.detach() for parameter in module.parameters()])


class MeanLoss(nn.Module):
    """The mean over the samples of one of ``LOSS_SUMS``, as a criterion that all tools take."""

    reduction = "mean"

    def __init__(self, loss: str) -> None:
        super().__init__()
        self.loss_sum = LOSS_SUMS[loss]

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of outputs of shape (samples, classes)."""
        return self.loss_sum(outputs, labels) / len(labels)


@dataclass(frozen=True)
class Case:
    """A network, whose parameters are a point, and a training set."""

    name: str
    module: nn.Module
    loss: str
    inputs: Tensor
    labels: Tensor

    @property
    def samples(self) -> int:
        """n."""
        return len(self.labels)

    @property
    def theta(self) -> Tensor:
        """The point, shape (P,)."""
        return parameters_to_vector(self.module.parameters()).detach()

    @property
    def criterion(self) -> MeanLoss:
        """The mean loss over samples."""
        return MeanLoss(self.loss)

    def at(self, theta: Tensor) -> Case:
        """The same network and training set at another point, in its dtype and on its device."""
        module = copy.deepcopy(self.module).to(theta)
        vector_to_parameters(theta, module.parameters())
        data = self.inputs.to(theta), self.labels.to(theta.device)
        return Case(self.name, module, self.loss, *data)

    def objective(
        self,
        chunks: Chunks | None = None,
        samples: int | None = None,
        ranks: Ranks | None = None,
        kind: Callable[..., Objective] = Objective,
    ) -> Objective:
        """This package's objective, or one of another kind, on the first ``samples``."""
        data = self.inputs[:samples], self.labels[:samples]
        layout, loss_sum = Layout.of(self.module), LOSS_SUMS[self.loss]
        return kind(self.module, layout, loss_sum, *data, chunks=chunks, ranks=ranks)

    def footprint(self) -> Footprint:
        """What this package takes a chunk to occupy, on the device of the case."""
        return footprint_of(lambda samples: self.objective(samples=samples), self.theta)

    def planned(self) -> Chunks:
        """The chunks that this package chooses by itself, on the device of the case."""
        device = self.inputs.device
        budget = default_budget(str(device))
        return plan(self.footprint(), self.samples, budget, CHUNK_BYTES[device.type])

    def batches(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """The training set in batches of so many samples."""
        return list(zip(self.inputs.split(batch), self.labels.split(batch), strict=True))


NETWORKS = {"fc": (fcn, "mse"), "cnn": (cnn, "ce"), "vit": (VisionTransformer, "ce")}
"""The network and the loss of each case."""


def case(name: str, samples: int, folder: Path | None, **sizes: int) -> Case:
    """A case at its initialisation, with PyTorch's defaults from seed 0, on CIFAR-10 in a folder.

    Without a folder the inputs are standard normal and the labels random. ``sizes`` of the network
    are those of the table unless given.
    """
    build, loss = NETWORKS[name]
    torch.manual_seed(0)
    module = build(**sizes)
    if folder:
        return Case(name, module, loss, *cifar.read(folder, samples))
    return Case(name, module, loss, torch.randn(samples, 3072), torch.randint(10, (samples,)))
