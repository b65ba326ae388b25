"""What networks for images ask of the images."""

from __future__ import annotations

from jobs.spec import Problem, SpecError

PATCH = 4
"""Pixels of a side of a vision transformer's patch."""


def check_image(problem: Problem, shape: tuple[int, ...]) -> None:
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
    if named == "vit" and (height % PATCH or width % PATCH):
        expected = f"another for images of {height}×{width}: its patches are {PATCH}×{PATCH}"
        raise SpecError("architecture", named, expected)
