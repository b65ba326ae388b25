"""Convolutions whose derivatives, of any order, are convolutions that have fast kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

INPUT, WEIGHT, OUTPUT = range(3)


@dataclass(frozen=True)
class Convolution:
    """The trilinear form T(x, w, g) = ⟨x ∗ w, g⟩ of inputs x, weights w and a cotangent g.

    A convolution x ∗ w is its derivative by g, and the two gradients of a convolution are those by
    x and by w. So each of the three is differentiated by the other two, and no derivative of any
    order needs another kernel. PyTorch's own second derivative computes the part of the weights as
    a convolution with the batch as channels and the whole map as kernel, which has no fast kernel.

    Attributes:
        shapes: those of x and w.
        settings: stride, padding, dilation, transposed, output_padding and groups, as
            ``torch.ops.aten.convolution`` takes them.
    """

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    settings: tuple[Any, ...]

    def derivative(self, slot: int, first: Tensor, second: Tensor) -> Tensor:
        """∂T by x, w or g, which is the tensor of that slot, at the other two in their order."""
        if slot == OUTPUT:
            convolution: Tensor = torch.ops.aten.convolution(first, second, None, *self.settings)
            return convolution
        # Of the tensor by which it is differentiated, only the shape is read.
        absent = first.new_empty(1).expand(self.shapes[slot])
        inputs, weight = (absent, first) if slot == INPUT else (first, absent)
        mask = [slot == INPUT, slot == WEIGHT, False]
        found: Tensor = torch.ops.aten.convolution_backward(
            second, inputs, weight, None, *self.settings, mask
        )[slot]
        return found


class _Derivative(Function):
    """A derivative of the form, which autograd can differentiate again and again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(first: Tensor, second: Tensor, slot: int, form: Convolution) -> Tensor:
        return form.derivative(slot, first, second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.slot, ctx.form = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[Tensor | None, ...]:
        if cotangent is None:
            return None, None, None, None
        others = [slot for slot in (INPUT, WEIGHT, OUTPUT) if slot != ctx.slot]
        known = {ctx.slot: cotangent, **dict(zip(others, ctx.saved_tensors, strict=True))}
        gradients = [
            _derivative(ctx.form, slot, known) if needed else None
            for slot, needed in zip(others, ctx.needs_input_grad, strict=False)
        ]
        return *gradients, None, None


def _derivative(form: Convolution, slot: int, known: Mapping[int, Tensor]) -> Tensor:
    first, second = (known[other] for other in sorted(known) if other != slot)
    found: Tensor = _Derivative.apply(first, second, slot, form)  # type: ignore[no-untyped-call]
    return found


class ByTheirForm(TorchFunctionMode):
    """While it is active, the convolutions of torch are differentiated by :class:`Convolution`.

    Those whose padding is given as text, and those of one sample without a batch, stay as they are.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = _CONVOLUTIONS[func](*args, **(kwargs or {})) if func in _CONVOLUTIONS else None
        return func(*args, **(kwargs or {})) if found is None else found


def may_convolve(module: nn.Module) -> bool:
    """Whether a network may call convolutions: by layers of torch's, or in code of its own."""
    layers = module.modules()
    return any(
        isinstance(m, _ConvNd) or not type(m).__module__.startswith("torch.") for m in layers
    )


Sizes = int | tuple[int, ...]


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor | None:
    """``torch.conv2d`` and the like; None for what stays as it is."""
    return _biased(input, weight, bias, stride, padding, dilation, False, 0, groups)


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor | None:
    """``torch.conv_transpose2d`` and the like; None for what stays as it is."""
    return _biased(input, weight, bias, stride, padding, dilation, True, output_padding, groups)


def _biased(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Tensor | None:
    if inputs.ndim != weight.ndim or isinstance(padding, str):
        return None
    stride, padding, dilation, output_padding = (
        (sizes,) * (inputs.ndim - 2) if isinstance(sizes, int) else tuple(sizes)
        for sizes in (stride, padding, dilation, output_padding)
    )
    settings = (stride, padding, dilation, transposed, output_padding, groups)
    form = Convolution((inputs.shape, weight.shape), settings)
    found = _derivative(form, OUTPUT, {INPUT: inputs, WEIGHT: weight})
    return found if bias is None else found + bias.reshape(-1, *[1] * (inputs.ndim - 2))


_CONVOLUTIONS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    torch.conv1d: _convolution,
    torch.conv2d: _convolution,
    torch.conv3d: _convolution,
    torch.conv_transpose1d: _transposed,
    torch.conv_transpose2d: _transposed,
    torch.conv_transpose3d: _transposed,
}
