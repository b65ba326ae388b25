"""Small problems on one thread, and the tools by which the tests look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs import Problem, Protocol, Trial, datasets, models
from jobs.curvature.memory import Chunks
from jobs.datasets import Shape
from jobs.losses import LOSS_SUMS
from jobs.models.custom import named, register
from jobs.network_requirements import NetworkError
from jobs.objective import Objective
from jobs.parameters import Layout
from jobs.spec import Optimizer
from jobs.spec.values import digest_of


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _problem(**changes: Any) -> Problem:
    small = {"dataset": "digits", "n_train": 40, "width": 8, "depth": 1, "activation": "tanh"}
    small["dtype"] = "float64"
    return Problem(**{**small, **changes})


@pytest.fixture
def problem() -> Callable[..., Problem]:
    """A small float64 problem, with the fields that are named changed."""
    return _problem


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """GD on a small float64 problem (η=0.1, ε=0.2), with fields of any part changed, and the
    fields of its ``optimizer``.

    ``learning_rate=None`` makes it the flow, ``kind`` a central flow.
    """
    of_protocol = Protocol.__dataclass_fields__

    def make(learning_rate: float | None = 0.1, **changes: Any) -> Trial:
        protocol = {"epsilons": (0.2,), "max_steps": 2_000, "trajectory_every": 20}
        protocol |= {name: value for name, value in changes.items() if name in of_protocol}
        optimizer = Optimizer(**changes.pop("optimizer", {}))
        kind = changes.pop("kind", "flow" if learning_rate is None else "gd")
        rest = {name: value for name, value in changes.items() if name not in of_protocol}
        return Trial(
            problem=_problem(**rest),
            optimizer=optimizer,
            protocol=Protocol(**protocol),
            kind=kind,
            learning_rate=learning_rate,
        )

    return make


@pytest.fixture
def random_objective() -> Callable[..., tuple[Objective, Tensor]]:
    """The objective of a network on random float64 data, and a random θ."""

    def make(
        *,
        activation: str = "tanh",
        loss: str = "mse",
        depth: int = 1,
        width: int = 5,
        samples: int = 9,
        chunk_size: int | None = None,
        retained: int = 0,
        seed: int = 0,
    ) -> tuple[Objective, Tensor]:
        network = models.build(
            _problem(activation=activation, loss=loss, depth=depth, width=width), Shape((4,), 3)
        )
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(samples, 4, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (samples,), generator=generator)
        layout = Layout.of(network)
        theta = torch.randn(layout.size, generator=generator, dtype=torch.float64) * 0.7
        chunks = Chunks(chunk_size, retained) if chunk_size else None
        return Objective(network, layout, LOSS_SUMS[loss], inputs, labels, chunks=chunks), theta

    return make


class LinearModel:
    """½ mean squared error of a linear model on digits, solved in the eigenbasis of its Hessian.

    With X̃ = [X 1] the loss is 1/2n ‖X̃W − Y‖², its Hessian (1/n) X̃ᵀX̃ for each of the ten outputs.
    θ holds the weight matrix of shape (10, 64), then the bias.
    """

    def __init__(self, samples: int) -> None:
        data = datasets.load(_problem(n_train=samples)).train
        inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels)
        network = models.build(_problem(depth=0), datasets.shape("digits"))
        self.layout = Layout.of(network)
        self.objective = Objective(network, self.layout, LOSS_SUMS["mse"], inputs, labels)
        self.design = torch.cat([inputs, torch.ones(samples, 1, dtype=torch.float64)], dim=1)
        self.targets = torch.eye(10, dtype=torch.float64)[labels]
        self.eigenvalues, self.basis = torch.linalg.eigh(self.design.T @ self.design / samples)
        self.eigenvalues.clamp_(min=0)
        self.sharpness = float(self.eigenvalues[-1])

    def loss(self, theta: Tensor) -> float:
        residual = self.design @ self._matrix(theta) - self.targets
        return float(residual.square().sum()) / (2 * len(residual))

    def decayed(self, theta0: Tensor, factors: Tensor) -> Tensor:
        """Where θ0 goes when its distance to the minimum shrinks by ``factors``, mode by mode.

        A mode of eigenvalue 0 stays where it is: its gradient is 0.
        """
        moved = self.basis.T @ self._matrix(theta0)
        pull = self.basis.T @ (self.design.T @ self.targets) / len(self.targets)
        flat = self.eigenvalues < 1e-10 * self.sharpness
        minimum = pull / self.eigenvalues.masked_fill(flat, 1)[:, None]
        end = minimum + factors[:, None] * (moved - minimum)
        end[flat] = moved[flat]
        matrix = self.basis @ end
        return torch.cat([matrix[:-1].T.reshape(-1), matrix[-1]])

    def _matrix(self, theta: Tensor) -> Tensor:
        weight, bias = self.layout.split(theta)
        return torch.cat([weight.T, bias[None]])


@pytest.fixture(scope="session")
def linear_model() -> LinearModel:
    return LinearModel(40)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., str]:
    """The architecture of a registered file with these contents; by its name the factory takes
    nothing where the source does not say what.
    """

    def write(text: str, factory: str = "make") -> str:
        path = tmp_path / "network.py"
        path.write_text(text)
        try:
            return named(path, factory)
        except NetworkError:
            digest = digest_of(path.read_bytes())
            register(digest, path)
            return f"network.py:{factory}()@{digest}"

    return write
