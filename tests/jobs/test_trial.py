import dataclasses
import itertools
import math

import pytest
import torch
from torch import nn

from jobs import OngoingTrial, Trial, datasets, run_trial
from jobs.spec import FURTHER_MEASURES

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def _by_hand(spec: Trial, steps: int) -> tuple[list[float], list[torch.Tensor], nn.Module]:
    """Losses and iterates of plain SGD on PyTorch's own network, with PyTorch's own losses."""
    problem, data = spec.problem, datasets.load(spec.problem)
    inputs, labels = torch.from_numpy(data.train.inputs), torch.from_numpy(data.train.labels)
    with torch.random.fork_rng():
        torch.manual_seed(problem.seed)
        layers, features = [], inputs.shape[1]
        for _ in range(problem.depth):
            layers += [nn.Linear(features, problem.width), ACTIVATIONS[problem.activation]()]
            features = problem.width
        network = nn.Sequential(*layers, nn.Linear(features, 10)).double()
    descent = torch.optim.SGD(network.parameters(), lr=spec.learning_rate)
    one_hot = torch.eye(10, dtype=torch.float64)[labels]
    losses, iterates = [], []
    for _ in range(steps + 1):
        descent.zero_grad()
        outputs = network(inputs)
        if problem.loss == "ce":
            loss = nn.functional.cross_entropy(outputs, labels)
        else:
            loss = 5 * nn.functional.mse_loss(outputs, one_hot)  # its mean is over ten outputs, too
        loss.backward()
        losses.append(loss.item())
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])
        iterates.append(flat)
        descent.step()
    return losses, iterates, network


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilons": (0.4, 0.3, 0.2)},
        {"activation": "relu", "depth": 2, "epsilons": (0.4, 0.3)},
        {"activation": "gelu", "loss": "ce", "epsilons": (2.0, 1.0)},
        {"depth": 0, "loss": "ce", "epsilons": (1.0, 0.2)},
    ],
)
def test_a_row_belongs_to_the_first_step_at_or_below_its_threshold(trial, changes):
    spec = trial(0.05, **changes)
    rows = run_trial(spec, threads=1).crossings
    losses, iterates, _ = _by_hand(spec, rows[-1].steps)
    assert [row.epsilon for row in rows] == list(changes["epsilons"])
    for row in rows:
        first = next(step for step, loss in enumerate(losses) if loss <= row.epsilon)
        theta = iterates[first]
        assert row.status == "reached"
        assert row.steps == first > 0
        assert row.train_loss == pytest.approx(losses[first], rel=1e-10)
        assert row.l1_norm == pytest.approx(float(theta.abs().sum()), rel=1e-10)
        assert row.l2_norm == pytest.approx(float(theta.norm()), rel=1e-10)
        distance = float((theta - iterates[0]).norm())
        assert row.distance_from_init == pytest.approx(distance, rel=1e-9)


def test_accuracies_and_the_test_loss_are_those_of_the_network(trial):
    spec = trial(0.05)
    row = run_trial(spec, threads=1).crossings[0]
    _, iterates, network = _by_hand(spec, row.steps)
    nn.utils.vector_to_parameters(iterates[-1], network.parameters())
    data = datasets.load(spec.problem)
    for part, accuracy in ((data.train, row.train_accuracy), (data.test, row.test_accuracy)):
        predicted = network(torch.from_numpy(part.inputs)).argmax(dim=1).numpy()
        assert accuracy == pytest.approx(float((predicted == part.labels).mean()), abs=1e-12)
    outputs = network(torch.from_numpy(data.test.inputs)).detach()
    targets = torch.eye(10, dtype=torch.float64)[torch.from_numpy(data.test.labels)]
    by_hand = float((outputs - targets).square().sum()) / 2 / 500
    assert row.test_loss == pytest.approx(by_hand, rel=1e-9)


def test_several_thresholds_in_one_run_are_as_many_runs_with_one_each(trial):
    epsilons = (0.4, 0.3, 0.2)
    together = run_trial(trial(epsilons=epsilons), threads=1).crossings
    for row, epsilon in zip(together, epsilons, strict=True):
        (alone,) = run_trial(trial(epsilons=(epsilon,)), threads=1).crossings
        # Only what the run spent and measured on its way may differ.
        spent = {"hvps": 0, "gradients": 0, "max_sharpness": None}
        assert dataclasses.replace(row, **spent) == dataclasses.replace(alone, **spent)


def test_thresholds_that_are_crossed_in_one_step_share_that_step(trial):
    rows = run_trial(trial(epsilons=(0.3, 0.3 - 1e-9)), threads=1).crossings
    assert rows[0].steps == rows[1].steps
    assert rows[0] == dataclasses.replace(rows[1], epsilon=0.3)


@pytest.mark.parametrize("learning_rate", [0.1, None])
def test_a_threshold_above_the_initial_loss_is_reached_at_step_zero(trial, learning_rate):
    row, _ = run_trial(trial(learning_rate, epsilons=(100.0, 0.3)), threads=1).crossings
    assert (row.status, row.steps, row.time) == ("reached", 0, 0.0)
    assert row.sharpness > 0
    assert row.sharpness_mid is None
    assert row.distance_from_init == 0
    assert row.max_sharpness == row.sharpness


def test_a_run_that_stops_at_its_last_step_says_so(trial):
    result = run_trial(trial(epsilons=(0.5, 0.3, 1e-6), max_steps=33), threads=1)
    statuses = [row.status for row in result.crossings]
    assert statuses[-1] == "max_steps"
    assert set(statuses[:-1]) == {"reached"}
    row = result.crossings[-1]
    assert row.steps == 33
    assert row.train_loss > row.epsilon
    assert row.sharpness > 0
    assert row.sharpness_converged
    assert result.trajectory[-1].step == 33


def test_a_threshold_that_is_reached_at_the_last_step_is_reached(trial):
    steps = run_trial(trial(), threads=1).crossings[0].steps
    assert run_trial(trial(max_steps=steps), threads=1).crossings[0].status == "reached"
    assert run_trial(trial(max_steps=steps - 1), threads=1).crossings[0].status == "max_steps"


def test_a_run_that_diverged_has_rows_without_a_sharpness(trial):
    spec = trial(5.0, epsilons=(100.0, 0.1))
    reached, diverged = run_trial(spec, threads=1).crossings
    assert reached.status == "reached"
    assert reached.sharpness > 0
    assert diverged.status == "diverged"
    assert diverged.sharpness is diverged.lambda_max is diverged.lambda_min is None
    assert diverged.sharpness_residual is diverged.sharpness_converged is None
    assert diverged.sharpness_mid is None
    assert diverged.train_loss is None or diverged.train_loss > 1e3 * reached.train_loss
    for value in dataclasses.astuple(diverged):
        assert not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("factor", [1.5, 1e3])
def test_a_run_diverges_where_its_loss_exceeds_the_factor(trial, factor):
    spec = trial(0.6, depth=0, divergence_factor=factor, epsilons=(1e-9,))
    (row,) = run_trial(spec, threads=1).crossings
    losses, _, _ = _by_hand(spec, row.steps)
    assert row.status == "diverged"
    assert row.steps == next(k for k, loss in enumerate(losses) if loss > factor * losses[0])
    assert row.train_loss == pytest.approx(losses[row.steps], rel=1e-9)


@pytest.mark.parametrize("init_scale", [1e12, 1e25])
def test_a_loss_that_is_not_finite_at_the_start_has_diverged_at_once(trial, init_scale):
    # Outputs of 1e25 and more square to an infinite float32, or are infinite themselves.
    changes = {"activation": "relu", "depth": 2, "dtype": "float32", "init_scale": init_scale}
    result = run_trial(trial(max_steps=5, **changes), threads=1)
    (row,) = result.crossings
    assert (row.status, row.steps) == ("diverged", 0)
    assert row.train_loss is None
    assert row.max_sharpness is None
    assert [point.step for point in result.trajectory] == [0]


EVERYTHING = {
    "also": FURTHER_MEASURES,
    "eigenvalues": 3,
    "midpoint": True,
    "probes": 8,
}
OF_TENSORS = {f"{norm}_norm" for norm in ("l1", "l2", "linf")}
OF_THETA = {"trace", "frobenius", "adaptive_sharpness", "average_sharpness"} | OF_TENSORS


def _names(row, point, layer=None):
    return [one.measure for one in row.measures if (one.point, one.layer) == (point, layer)]


def test_further_measures_are_those_that_were_asked_for_at_both_points(trial):
    spec = trial(epsilons=(0.4, 0.3), **EVERYTHING)
    for row in run_trial(spec, threads=1).crossings:
        for point in ("end", "mid"):
            expected = [*OF_THETA, "distance_from_flow", *["eigenvalue"] * 3]
            assert sorted(_names(row, point)) == sorted(expected)
            for tensor in ("0.weight", "0.bias", "2.weight", "2.bias"):
                assert set(_names(row, point, tensor)) == OF_TENSORS
        at_end = {
            (one.measure, one.rank): one.value
            for one in row.measures
            if one.point == "end" and one.layer is None
        }
        assert at_end["l1_norm", None] == row.l1_norm
        assert at_end["l2_norm", None] == row.l2_norm
        assert at_end["distance_from_flow", None] == row.distance_from_flow > 0
        # The largest in magnitude is the sharpness; each is known to a residual of 1e-3.
        ranked = [at_end["eigenvalue", rank] for rank in (1, 2, 3)]
        assert ranked == sorted(ranked, reverse=True)
        assert max(map(abs, ranked)) == pytest.approx(row.sharpness, rel=2e-3)
        for one in row.measures:
            probed = one.measure in ("trace", "frobenius", "average_sharpness")
            assert (one.standard_error is not None) == probed
            spectral = one.measure in ("eigenvalue", "adaptive_sharpness")
            assert (one.residual is not None) == spectral


def test_a_flow_has_no_middle_and_no_distance_from_itself(trial):
    (row,) = run_trial(trial(None, epsilons=(0.4,), **EVERYTHING), threads=1).crossings
    assert row.distance_from_flow is None
    assert {one.point for one in row.measures} == {"end"}
    assert sorted(set(_names(row, "end"))) == sorted({*OF_THETA, "eigenvalue"})


def test_at_step_zero_there_is_no_middle_and_gd_is_where_the_flow_is(trial):
    (row,) = run_trial(trial(epsilons=(100.0,), **EVERYTHING), threads=1).crossings
    assert row.steps == row.distance_from_flow == 0
    assert {one.point for one in row.measures} == {"end"}


def test_where_a_run_diverged_nothing_further_is_measured(trial):
    reached, diverged = run_trial(
        trial(5.0, epsilons=(100.0, 0.1), **EVERYTHING), threads=1
    ).crossings
    assert reached.measures
    assert (diverged.status, diverged.measures, diverged.distance_from_flow) == (
        "diverged",
        (),
        None,
    )


def test_at_the_last_step_crossed_and_missed_thresholds_have_the_same_measures(trial):
    spec = trial(epsilons=(0.4, 0.3), **EVERYTHING)
    steps = run_trial(spec, threads=1).crossings[0].steps
    reached, missed = run_trial(
        trial(epsilons=(0.4, 0.3), max_steps=steps, **EVERYTHING), threads=1
    ).crossings
    assert (reached.status, missed.status) == ("reached", "max_steps")
    assert reached.measures == missed.measures != ()


@pytest.mark.parametrize("learning_rate", [0.1, None])
def test_further_measures_change_nothing_but_the_count_of_products(trial, learning_rate):
    plain, measured = (
        run_trial(trial(learning_rate, epsilons=(0.4, 0.3), **asked), threads=1)
        for asked in ({}, EVERYTHING)
    )
    assert plain.trajectory == measured.trajectory
    for one, other in zip(plain.crossings, measured.crossings, strict=True):
        # Eight probes at least, and as many products again where there is a middle.
        assert other.hvps >= one.hvps + 8
        rest = {"hvps": one.hvps, "measures": (), "distance_from_flow": None}
        assert dataclasses.replace(other, **rest) == one


@pytest.mark.parametrize("learning_rate", [0.1, None])
@pytest.mark.parametrize("every", [1, 7, 50])
def test_a_trajectory_has_every_nth_step_and_the_crossings_once_each(trial, learning_rate, every):
    spec = trial(learning_rate, epsilons=(0.4, 0.3), trajectory_every=every)
    result = run_trial(spec, threads=1)
    steps = [point.step for point in result.trajectory]
    crossed = {row.steps for row in result.crossings}
    assert steps == sorted(set(range(0, max(crossed) + 1, every)) | crossed)
    for row in result.crossings:
        (point,) = [point for point in result.trajectory if point.step == row.steps]
        for name in ("time", "train_loss", "test_loss", "sharpness", "l1_norm", "l2_norm"):
            assert getattr(point, name) == getattr(row, name)


@pytest.mark.parametrize(("changes", "steps"), [({}, 34), ({"max_steps": 20}, 20)])
def test_gd_ends_with_the_step_that_takes_it_to_its_largest_time(trial, changes, steps):
    spec = trial(0.03, epsilons=(0.45, 1e-9), max_time=1.0, **changes)
    *_, last = run_trial(spec, threads=1).crossings
    assert (last.status, last.steps) == ("max_steps", steps)
    free = run_trial(trial(0.03, epsilons=(0.45, 1e-9), max_steps=steps), threads=1)
    assert last == free.crossings[-1]


def test_the_points_of_a_trajectory_are_the_iterates(trial):
    spec = trial(0.05, trajectory_every=9)
    points = run_trial(spec, threads=1).trajectory
    losses, iterates, _ = _by_hand(spec, points[-1].step)
    for point in points:
        assert point.train_loss == pytest.approx(losses[point.step], rel=1e-10)
        assert point.l1_norm == pytest.approx(float(iterates[point.step].abs().sum()), rel=1e-10)
        assert point.time == pytest.approx(0.05 * point.step, rel=1e-12)
        assert point.lambda_min is None or point.lambda_min <= point.sharpness


@pytest.mark.parametrize("learning_rate", [0.08, None])
def test_the_largest_sharpness_is_that_of_all_measurements_so_far(trial, learning_rate):
    spec = trial(learning_rate, epsilons=(0.4, 0.3, 0.2), trajectory_every=1)
    result = run_trial(spec, threads=1)
    largest = [row.max_sharpness for row in result.crossings]
    assert all(a <= b for a, b in itertools.pairwise(largest))
    for row in result.crossings:
        assert row.max_sharpness >= row.sharpness
        so_far = [point.sharpness for point in result.trajectory if point.step <= row.steps]
        assert row.max_sharpness == max(so_far)


def test_on_the_linear_model_the_middle_has_the_same_sharpness(trial, linear_model):
    (row,) = run_trial(trial(0.02, depth=0), threads=1).crossings
    assert row.sharpness_mid == pytest.approx(linear_model.sharpness, rel=1e-3)
    assert row.sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)


def test_above_the_edge_the_middle_of_the_oscillation_is_another_point(trial):
    # The two differ by what the sharpness changes over half a step: little at 0.3 of the edge;
    # beyond the edge the iterate jumps across the valley (measured: 1e-4 and 4e-3).
    changes = {"n_train": 100, "width": 16, "depth": 2, "epsilons": (0.05,)}
    flow = run_trial(trial(None, **changes), threads=1).crossings[0]
    edge = 2 / flow.max_sharpness
    apart = []
    for factor in (0.3, 2.2):
        (row,) = run_trial(trial(factor * edge, **changes), threads=1).crossings
        assert row.status == "reached"
        apart.append(abs(row.sharpness / row.sharpness_mid - 1))
    assert flow.sharpness_mid is None
    assert apart[0] < 1e-3 < apart[1]


def test_the_size_of_the_training_set_leaves_the_test_set_alone(trial):
    # θ0 is the same for both, and so is its test loss.
    small, large = (
        run_trial(trial(n_train=n, max_steps=1), threads=1).trajectory[0] for n in (10, 40)
    )
    assert small.test_loss == large.test_loss
    assert small.train_loss != large.train_loss


def test_float32_and_float64_agree_loosely(trial):
    single, double = (
        run_trial(trial(0.05, dtype=dtype), threads=1).crossings[0]
        for dtype in ("float32", "float64")
    )
    assert abs(single.steps - double.steps) <= 1
    for name in ("train_loss", "test_loss", "sharpness", "l1_norm", "l2_norm"):
        assert getattr(single, name) == pytest.approx(getattr(double, name), rel=2e-3)


@pytest.mark.parametrize("learning_rate", [0.1, None])
def test_a_trial_gives_the_same_bits_every_time(trial, learning_rate):
    spec = trial(learning_rate, dtype="float32")
    first = run_trial(spec, threads=1)
    torch.manual_seed(123)
    torch.randn(7)
    assert run_trial(spec, threads=1) == first


def test_every_learning_rate_and_the_flow_start_at_the_same_point(trial):
    first = [
        run_trial(trial(eta, max_steps=1), threads=1).trajectory[0] for eta in (0.1, 0.01, None)
    ]
    assert first[0] == first[1] == first[2]


def test_the_evaluations_of_gd_are_counted(trial):
    spec = trial(epsilons=(0.3,), trajectory_every=10_000)
    (row,) = run_trial(spec, threads=1).crossings
    # A gradient a step and one where it stopped, and three Hessians: at step 0, there, mid-way.
    assert row.gradients == row.steps + 1 + 3
    assert row.hvps > 0


def test_the_sharpness_of_a_row_is_as_good_as_was_asked_for(trial):
    for rtol in (1e-2, 1e-4):
        (row,) = run_trial(trial(sharpness_rtol=rtol), threads=1).crossings
        assert row.sharpness_converged
        assert row.sharpness_residual <= rtol
        assert row.sharpness == max(abs(row.lambda_max), abs(row.lambda_min))
        assert row.lambda_min <= row.lambda_max


def test_the_numerical_settings_are_those_from_before_afterwards(trial):
    def settings():
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    before, seen = settings(), []
    run = OngoingTrial(trial(), threads=2)
    run.advance(lambda: seen.append(settings()) or run.step >= 2)
    assert settings() == before
    assert seen[-1] == (2, True, "highest", False, False)


def test_a_run_can_be_advanced_in_slices(trial):
    spec = trial()
    run = OngoingTrial(spec, threads=1)
    assert math.isnan(run.at.loss)
    assert not run.advance(lambda: True)
    assert run.step == 0
    with pytest.raises(RuntimeError, match=f"{spec.trial_id} is at step 0"):
        run.result()
    assert not run.advance(lambda: run.step >= 5)
    assert run.step == 5
    assert run.advance(lambda: False)
    assert run.finished
    assert run.advance()
    assert run.result() == run_trial(spec, threads=1)
    assert run.at.loss == run.result().crossings[-1].train_loss


def test_a_dataset_that_is_too_small_is_refused_before_anything_runs(trial):
    with pytest.raises(datasets.DatasetError, match="n_train is 1298"):
        OngoingTrial(trial(n_train=1298))
