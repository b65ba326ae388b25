"""Architectures by name. The loss of each is a sum over samples."""

from __future__ import annotations

import torch
from torch import nn

from jobs.datasets.source import Shape
from jobs.models import custom, feedforward, resnet, vit
from jobs.models.seeding import seeded
from jobs.spec import Problem, SpecError
from jobs.spec.network_name import custom_network

__all__ = ["build", "draw"]

IMAGE_NETWORKS = {"cnn": feedforward.cnn, "resnet": resnet.build, "vit": vit.build}


def build(problem: Problem, shape: Shape, device: str = "cpu") -> nn.Module:
    """The network's structure: the values of its trainable parameters live in one flat vector
    elsewhere, and :mod:`jobs.parameters` lends it views of that.

    It maps inputs of shape (samples, features) to (samples, outputs). A network of this package
    lies on torch's meta device, without storage. A custom one lies on ``device`` in the problem's
    dtype, as it may have constants: buffers and frozen parameters.

    Raises:
        SpecError: the images are too small for the depth, or not to be cut into patches.
        NetworkError: a custom network cannot be used.
    """
    if custom_network(problem.architecture):
        custom.check(problem, shape)
        return draw(problem, shape).to(device=device, dtype=getattr(torch, problem.dtype))
    with torch.device("meta"):
        return _construct(problem, shape)


def draw(problem: Problem, shape: Shape) -> nn.Module:
    """The network on the CPU in float32, with the values that its constructor draws from the
    problem's seed. PyTorch's own generator is as before afterwards.

    Raises:
        SpecError: as in :func:`build`.
        NetworkError: as in :func:`build`.
    """
    if custom_network(problem.architecture):
        return custom.draw(problem, shape)
    with seeded(problem.seed or 0):  # diagonal networks draw nothing
        return _construct(problem, shape)


def _construct(problem: Problem, shape: Shape) -> nn.Module:
    named = problem.architecture
    assert problem.depth is not None
    if named == "diagonal":
        return feedforward.Diagonal(shape.features, problem.depth)
    if named == "diagonal-difference":
        return feedforward.DiagonalDifference(shape.features)
    width, depth, activation = problem.width, problem.depth, problem.activation
    if named == "fcn":
        return feedforward.fcn(shape.features, shape.outputs, width, depth, activation)
    assert width is not None
    assert activation is not None
    _check_image(problem, shape.input)
    return IMAGE_NETWORKS[named](shape.input, shape.outputs, width, depth, activation)


def _check_image(problem: Problem, shape: tuple[int, ...]) -> None:
    """Make sure that a network takes images of shape (channels, height, width).

    Raises:
        SpecError: the samples are no images, or images of another size would be needed.
    """
    named = problem.architecture
    if len(shape) != 3:
        raise SpecError("architecture", named, f"another for samples of shape {shape}: no images")
    _, height, width = shape
    if named == "cnn":
        assert problem.depth is not None
        most = min(height, width).bit_length() - 1
        if problem.depth > most:
            expected = f"at most {most} for images of {height}×{width}: each block halves them"
            raise SpecError("depth", problem.depth, expected)
    if named == "vit" and (height % vit.PATCH or width % vit.PATCH):
        patch = f"{vit.PATCH}×{vit.PATCH}"
        expected = f"another for images of {height}×{width}: its patches are {patch}"
        raise SpecError("architecture", named, expected)
