"""The other ways to a Hessian product and to the sharpness, each used as its authors mean it.

A product takes v of shape (P,) to H v of shape (P,), H being the Hessian of the mean loss over all
samples of a case at the parameters of its module. A solver returns the sharpness and the products
that it took. ``batch`` is the number of samples that go through the network at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from curvlinops import HessianLinearOperator
from hessian_eigenthings import HessianOperator, lanczos, supervised_loss
from networks import Case
from pyhessian import hessian as pyhessian
from pyhessian import hessian_vector_product
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.func import functional_call, grad, jvp, linearize
from torch.nn.utils import parameters_to_vector

from jobs.losses import LOSS_SUMS
from jobs.parameters import Layout

Product = Callable[[Tensor], Tensor]
Named = dict[str, Tensor]
"""The parameters, or what has their shapes, by their names in the module."""

Sharpness = tuple[float, int]
"""S, and the Hessian products that it took."""


def plain_recipe(case: Case, batch: int) -> Product:
    """Cohen et al. 2021, ``compute_hvp``: the graph is rebuilt for every product."""
    parameters = list(case.module.parameters())
    loss_sum = LOSS_SUMS[case.loss]

    def product(vector: Tensor) -> Tensor:
        total = torch.zeros_like(vector)
        for inputs, labels in case.batches(batch):
            loss = loss_sum(case.module(inputs), labels) / case.samples
            grads = torch.autograd.grad(loss, parameters, create_graph=True)
            dot = parameters_to_vector(grads).mul(vector).sum()
            grads = torch.autograd.grad(dot, parameters, retain_graph=True)
            total += parameters_to_vector([part.contiguous() for part in grads])
        return total

    return product


def linearized(case: Case, batch: int) -> Product:
    """``torch.func.linearize(grad(loss))``: traced once, for each batch."""
    layout, theta = Layout.of(case.module), case.theta
    products = [linearize(gradient, layout.named(theta))[1] for gradient in _gradients(case, batch)]

    def product(vector: Tensor) -> Tensor:
        direction = layout.named(vector)
        return sum(layout.join(list(part(direction).values())) for part in products)

    return product


def forward_over_reverse(case: Case, batch: int) -> Product:
    """``torch.func.jvp(grad(loss))``."""
    layout, theta = Layout.of(case.module), case.theta
    gradients = list(_gradients(case, batch))

    def product(vector: Tensor) -> Tensor:
        point, direction = (layout.named(theta),), (layout.named(vector),)
        parts = (jvp(gradient, point, direction)[1] for gradient in gradients)
        return sum(layout.join(list(part.values())) for part in parts)

    return product


def _gradients(case: Case, batch: int) -> Iterator[Callable[[Named], Named]]:
    """For each batch, its part of ∇L as a function of the parameters by name."""
    loss_sum = LOSS_SUMS[case.loss] if case.loss != "mse" else _half_squared_error
    for inputs, labels in case.batches(batch):

        def part(named: Named, inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
            return loss_sum(functional_call(case.module, named, (inputs,)), labels) / case.samples

        yield grad(part)


def _half_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """The package's MSE without ``one_hot``, which cannot be traced."""
    targets = torch.eye(outputs.shape[1], dtype=outputs.dtype)[labels]
    return (outputs - targets).square().sum() / 2


def curvlinops_operator(case: Case, batch: int) -> HessianLinearOperator:
    """The operator of curvlinops, without its check of determinism (2 gradients, 2 products)."""
    return HessianLinearOperator(
        case.module,
        case.criterion,
        list(case.module.parameters()),
        case.batches(batch),
        check_deterministic=False,
        num_data=case.samples,
    )


def curvlinops_product(case: Case, batch: int) -> Product:
    """That operator's ``@``."""
    operator = curvlinops_operator(case, batch)
    return lambda vector: operator @ vector


def eigenthings_operator(case: Case, batch: int) -> HessianOperator:
    """The operator of hessian-eigenthings: the mean over batches, which must be of equal size."""
    if case.samples % batch:
        raise ValueError(f"{case.samples} samples in batches of {batch}; they must all be equal")
    return HessianOperator(case.module, case.batches(batch), supervised_loss(case.criterion))


def eigenthings_product(case: Case, batch: int) -> Product:
    """That operator's ``matvec``."""
    return eigenthings_operator(case, batch).matvec


def pyhessian_product(case: Case, batch: int) -> Product:
    """PyHessian: the graph is retained for one batch, rebuilt for each of several."""
    layout = Layout.of(case.module)
    if batch >= case.samples:
        whole = pyhessian(case.module, case.criterion, data=(case.inputs, case.labels), cuda=False)
        return lambda vector: layout.join(
            hessian_vector_product(whole.gradsH, whole.params, layout.split(vector))
        )
    several = pyhessian(case.module, case.criterion, dataloader=case.batches(batch), cuda=False)
    return lambda vector: layout.join(several.dataloader_hv_product(layout.split(vector))[1])


def eigsh_sharpness(operator: LinearOperator, **options: float) -> Sharpness:
    """scipy's ``eigsh`` as it stands: one eigenvalue of largest magnitude."""
    calls = 0

    def counted(vector: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return operator.matvec(vector)

    shape, dtype = operator.shape, operator.dtype
    values, _ = eigsh(LinearOperator(shape, matvec=counted, dtype=dtype), k=1, **options)
    return float(values[0]), calls


def cohen_sharpness(case: Case, batch: int, **options: float) -> Sharpness:
    """Cohen et al. 2021, ``lanczos``: no dtype is given, so scipy infers float32 by a product."""
    product = plain_recipe(case, batch)
    size = Layout.of(case.module).size

    def matvec(vector: np.ndarray) -> Tensor:
        return product(torch.tensor(vector, dtype=torch.float)).detach().cpu()

    value, calls = eigsh_sharpness(LinearOperator((size, size), matvec=matvec), **options)
    return value, calls + 1


def curvlinops_sharpness(case: Case, batch: int, **options: float) -> Sharpness:
    """``eigsh`` of ``to_scipy()``, the way of curvlinops' own documentation (float64 vectors)."""
    return eigsh_sharpness(curvlinops_operator(case, batch).to_scipy(), **options)


def eigenthings_sharpness(case: Case, batch: int, max_iter: int | None = None) -> Sharpness:
    """hessian-eigenthings' Lanczos for one eigenvalue; by default it makes two iterations."""
    found = lanczos(eigenthings_operator(case, batch), k=1, max_iter=max_iter)
    return float(found.eigenvalues[0]), found.iterations


def pyhessian_sharpness(case: Case) -> Sharpness:
    """PyHessian's power iteration with its defaults, all samples in one batch."""
    with _counted_pyhessian() as product:
        whole = pyhessian(case.module, case.criterion, data=(case.inputs, case.labels), cuda=False)
        values, _ = whole.eigenvalues()
        case.module.zero_grad()
    return float(values[0]), product.call_count


@contextmanager
def _counted_pyhessian() -> Iterator[mock.Mock]:
    """Counts the products that PyHessian makes while this is active."""
    module = importlib.import_module("pyhessian.hessian")
    with mock.patch.object(module, "hessian_vector_product", wraps=hessian_vector_product) as count:
        yield count
