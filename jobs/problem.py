"""A problem made ready to compute with: its training and test objectives, and θ0."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs import datasets, models
from jobs.losses import LOSS_SUMS
from jobs.objective import Objective
from jobs.parameterization import initial_parameters
from jobs.parameters import Layout
from jobs.spec import Problem


def pose(problem: Problem, device: str) -> tuple[Objective, Objective, Tensor]:
    """The training objective, the test objective and θ0, on the device, in the problem's dtype.

    Raises:
        DatasetError: the dataset is not there, or too small.
    """
    data = datasets.load(problem.dataset, problem.n_train)
    dtype = getattr(torch, problem.dtype)
    module = models.build(problem, data.train.inputs.shape[1], data.train.classes)
    layout = Layout.of(module)

    def objective(samples: datasets.Samples) -> Objective:
        return Objective(
            module,
            layout,
            LOSS_SUMS[problem.loss],
            torch.from_numpy(samples.inputs).to(device=device, dtype=dtype),
            torch.from_numpy(samples.labels).to(device),
        )

    theta0 = initial_parameters(module, problem).to(device)
    return objective(data.train), objective(data.test), theta0
