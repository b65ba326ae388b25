"""What the default flow promises of time, s_gf and norms, against RK4 with short steps."""

import pytest

from jobs import OngoingTrial
from jobs.curvature.sharpness import SharpnessMeter
from jobs.parameters import l1_norm, l2_norm

# As promised in the README and in the docstring of the method, as fractions of each value.
NAMES = ("time", "max_sharpness", "l1_norm", "l2_norm", "distance_from_init")
SMOOTH = (1e-3, 5e-3, 2e-4, 2e-4, 5e-4)
RELU_CE = (5e-3, 1e-2, 1e-3, 1e-3, 1e-3)
RELU_MSE = (2e-2, 5e-2, 2e-3, 2e-3, 5e-3)


def _tightly(objective, theta0, epsilons):
    """What stands at each ε on the flow by RK4 with h = 0.1/S; S is measured after 0.5/S.

    Within a step θ is the cubic between its ends, and ε is met there by bisection.
    """
    meter, theta, time, largest = SharpnessMeter(objective, 1e-4), theta0, 0.0, 0.0
    found, count = [], 0
    loss, k1 = objective.gradient(theta)
    while len(found) < len(epsilons):
        if count % 5 == 0:
            s = meter.measure(theta).sharpness
            largest = max(largest, s)
        h, count = 0.1 / s, count + 1
        k2 = objective.gradient(theta - h / 2 * k1)[1]
        k3 = objective.gradient(theta - h / 2 * k2)[1]
        k4 = objective.gradient(theta - h * k3)[1]
        end = theta - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        loss, slope = objective.gradient(end)
        while len(found) < len(epsilons) and loss <= epsilons[len(found)]:
            low, high = 0.0, 1.0
            for _ in range(20):
                share = (low + high) / 2
                rest = 1 - share
                point = theta.lerp(end, share * share * (3 - 2 * share))
                point = point - h * share * rest * (rest * k1 - share * slope)
                reached = objective.evaluate(point).loss <= epsilons[len(found)]
                low, high = (low, share) if reached else (share, high)
            here = {"time": time + high * h, "distance_from_init": l2_norm(point - theta0)}
            here |= {"l1_norm": l1_norm(point), "l2_norm": l2_norm(point)}
            largest = max(largest, meter.measure(point, audit=True).sharpness)
            found.append({**here, "max_sharpness": largest})
        theta, k1, time = end, slope, time + h
    return found


@pytest.mark.parametrize(
    ("activation", "loss", "epsilons", "promised"),
    [
        ("tanh", "mse", (0.3,), SMOOTH),
        ("tanh", "ce", (1.2, 0.5), SMOOTH),
        ("relu", "mse", (0.3,), RELU_MSE),
        ("relu", "ce", (1.2, 0.5), RELU_CE),
    ],
)
def test_the_default_flow_keeps_what_it_promises(trial, activation, loss, epsilons, promised):
    changes = {"activation": activation, "loss": loss, "epsilons": epsilons}
    expected = None
    for every in (None, 1000):  # S at every step, and only where the flow itself needs it
        spec = trial(None, n_train=100, width=16, trajectory_every=every, **changes)
        run = OngoingTrial(spec, threads=1)
        expected = expected or _tightly(run.objective, run.at.theta, epsilons)
        run.advance()
        for row, truth in zip(run.result().crossings, expected, strict=True):
            assert row.epsilon * (1 - 1e-4) * (1 - 1e-9) <= row.train_loss <= row.epsilon
            for name, tolerance in zip(NAMES, promised, strict=True):
                assert getattr(row, name) == pytest.approx(truth[name], rel=tolerance), name
