"""Which runs on one point in two dimensions count as stable, at tight and at loose thresholds."""

import numpy as np
import pytest

from jobs.diagonal import TrainingLoss, sweep_plane
from jobs.records import OFF_THE_EDGE

TABLE = [0.15, 0.17, 0.18, 0.20, 0.22, 0.25]


def largest_loss_from_there_on(sweep, steps=400):
    """Of each run that reached ε: the largest loss that GD has when it simply goes on."""
    loss, reached = TrainingLoss([sweep.point.x], [sweep.point.y]), sweep.runs.reached()
    w, rates = sweep.runs.weights[reached], sweep.runs.learning_rates[reached, None]
    largest = np.zeros(len(w))
    for _ in range(steps):
        w = w - rates * loss.gradient(w)
        largest = np.maximum(largest, loss(w))
    return largest


@pytest.mark.parametrize("epsilon", [1e-12, 1e-6, 1e-3])
def test_what_comes_to_the_edge_is_stable_at_every_threshold(epsilon):
    """A loose ε stops it within its oscillation, at S·η/2 of up to 1.045 for ε = 10⁻³."""
    sweep = sweep_plane(rates=TABLE, epsilon=epsilon)
    assert sweep.stable.all()
    assert (sweep.runs.edge_ratio.max() > 1.04) == (epsilon == 1e-3)


@pytest.mark.parametrize(
    ("x", "truth", "loosest"),
    [
        ((2.0, 1.0), (0.5, 0.5), 1e-3),
        ((1.0, 3.0), (0.2, 0.1), 1e-6),
        ((5.0, 1.0), (0.5, 0.5), 1e-3),
    ],
)
def test_a_run_is_stable_if_its_loss_stays_when_it_goes_on(x, truth, loosest):
    """All others were in passing: their loss grows again to more than 100 ε.

    Beyond 1.6 η_c a chaotic orbit may pass even where S is small, which S cannot tell.
    """
    rates = np.linspace(0.3, 1.6, 200) * sweep_plane(x, truth, rates=[0.01]).critical_rate
    accidents = 0
    for epsilon in (1e-6, 1e-4, 1e-3):
        if epsilon <= loosest:
            sweep = sweep_plane(x, truth, rates=rates, epsilon=epsilon)
            stable = sweep.stable[sweep.runs.reached()]
            growth = largest_loss_from_there_on(sweep) / epsilon
            assert np.all(growth[stable] < 2)
            assert not np.any(growth[~stable] < 100)
            accidents += (~stable).sum()
    assert accidents > 0


def test_no_threshold_is_loose_enough_to_include_a_chance_crossing():
    sweep = sweep_plane(rates=np.linspace(0.17, 0.37, 200), epsilon=0.1)
    ratio = sweep.runs.edge_ratio[sweep.runs.reached()]
    assert ratio.max() > OFF_THE_EDGE
    assert np.all(ratio[sweep.stable[sweep.runs.reached()]] <= OFF_THE_EDGE)
