"""What a protocol asks for at a crossing besides the columns of its row."""

from __future__ import annotations

from torch import Tensor

from jobs.curvature.hessian import Hessian
from jobs.curvature.probes import Estimate, average_sharpness, hutchinson
from jobs.curvature.spectrum import adaptive_sharpness, leading_eigenvalues
from jobs.dynamics.flow_reference import FlowReference
from jobs.objective import Objective
from jobs.parameters import all_norms
from jobs.records import Measured, PointName, finite
from jobs.spec import Protocol


def further_measures(
    protocol: Protocol,
    objective: Objective,
    theta: Tensor,
    *,
    point: PointName,
    flow: FlowReference | None = None,
    time: float = 0.0,
) -> list[Measured]:
    """The numbers at θ that the protocol asks for, each of which depends on θ alone.

    The products that they take are counted by the objective; the gradients are not, so that no
    bound on a trial's gradients depends on what is measured.

    Args:
        protocol: what is asked for.
        objective: L.
        theta: shape (P,).
        point: what the point is called.
        flow: what GD is compared with, where that is asked for; None for a flow itself.
        time: of θ.
    """
    gradients = objective.gradients
    try:
        found = _of_curvature(protocol, objective, theta, point)
    finally:
        objective.count_from(gradients=gradients, hvps=objective.hvps)
    if "average_sharpness" in protocol.also:
        assert protocol.perturbation is not None
        assert protocol.probes is not None
        estimate = average_sharpness(
            objective, theta, radius=protocol.perturbation, probes=protocol.probes
        )
        found.append(_estimated(point, "average_sharpness", estimate))
    if "norms" in protocol.also:
        found += [
            Measured(point=point, measure=norm, layer=layer, value=finite(value))
            for norm, layer, value in all_norms(objective.layout, theta)
        ]
    if flow is not None:
        distance = finite(flow.distance(theta, time))
        found.append(Measured(point=point, measure="distance_from_flow", value=distance))
    return found


def leading_at(
    objective: Objective, theta: Tensor, count: int, rtol: float
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """The eigenvalues of largest magnitude at θ, and their residuals; counted as
    :func:`further_measures` counts.
    """
    gradients = objective.gradients
    try:
        products = Hessian(objective, theta).products
        found = leading_eigenvalues(products, theta, count, rtol=rtol, agree=objective.agree)
    finally:
        objective.count_from(gradients=gradients, hvps=objective.hvps)
    return tuple(map(finite, found.values)), tuple(map(finite, found.residuals))


def _of_curvature(
    protocol: Protocol, objective: Objective, theta: Tensor, point: PointName
) -> list[Measured]:
    """Those that come from products with one Hessian."""
    also, rtol, agree = set(protocol.also), protocol.sharpness_rtol, objective.agree
    if not (also & {"trace", "frobenius", "adaptive_sharpness"} or protocol.eigenvalues):
        return []
    hessian = Hessian(objective, theta)
    found = []
    if also & {"trace", "frobenius"}:
        assert protocol.probes is not None
        trace, frobenius = hutchinson(hessian.products, theta, protocol.probes, agree=agree)
        both = {"trace": trace, "frobenius": frobenius}
        found += [_estimated(point, name, both[name]) for name in both if name in also]
    if protocol.eigenvalues:
        leading = leading_eigenvalues(
            hessian.products, theta, protocol.eigenvalues, rtol=rtol, agree=agree
        )
        found += [
            Measured(
                point=point,
                measure="eigenvalue",
                rank=rank,
                value=finite(value),
                residual=finite(residual),
            )
            for rank, (value, residual) in enumerate(
                zip(leading.values, leading.residuals, strict=True), 1
            )
        ]
    if "adaptive_sharpness" in also:
        scaled = adaptive_sharpness(hessian.products, theta, rtol=rtol, agree=agree)
        found.append(
            Measured(
                point=point,
                measure="adaptive_sharpness",
                value=finite(scaled.sharpness),
                residual=finite(scaled.residual),
            )
        )
    return found


def _estimated(point: PointName, measure: str, estimate: Estimate) -> Measured:
    return Measured(
        point=point,
        measure=measure,
        value=finite(estimate.value),
        standard_error=finite(estimate.standard_error),
    )
