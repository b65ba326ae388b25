"""Several processes compute what one computes: gradients, products, whole trials, checkpoints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jobs.listening import open_store
from jobs.ranks import Alone, Ranks

SCRIPT = Path(__file__).parent / "processes" / "rank.py"


@pytest.fixture
def together(tmp_path):
    """Run a case of ``processes/rank.py`` in so many processes; what each of them found."""

    def run(size, case, *arguments):
        store = open_store("127.0.0.1")
        given = [case, str(size), str(store.port), str(tmp_path), json.dumps(arguments)]
        processes = [
            subprocess.Popen([sys.executable, SCRIPT, given[0], str(rank), *given[1:]])
            for rank in range(size)
        ]
        for process in processes:
            process.wait(timeout=120)
        files = [tmp_path / f"{rank}.json" for rank in range(size)]
        return [json.loads(file.read_text()) if file.exists() else None for file in files]

    return run


class _Imagined(Ranks):
    def sum_(self, values):
        return values

    def agree(self, values):
        return values


@pytest.mark.parametrize(("samples", "size"), [(7, 2), (5000, 3), (1, 1), (3, 3), (2, 5), (10, 4)])
def test_shares_cover_all_samples_once_and_differ_by_one_at_most(samples, size):
    shares = [_Imagined(rank, size).share(samples) for rank in range(size)]
    covered = [index for share in shares for index in range(samples)[share]]
    lengths = [share.stop - share.start for share in shares]
    assert covered == list(range(samples))
    assert max(lengths) - min(lengths) <= 1


def test_one_process_alone_has_all_samples_and_nothing_to_agree_on():
    alone, values = Alone(), torch.tensor([1.0, 2.0])
    assert range(10)[alone.share(10)] == range(10)
    assert alone.sum_(values) is values
    assert alone.agree(values) is values


CASES = [{"n_train": n, "loss": loss} for n in (7, 50) for loss in ("mse", "ce")]


@pytest.fixture
def alone(together):
    return lambda case, *arguments: together(1, case, *arguments)[0]


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_and_products_are_those_of_one_rank(together, alone, size):
    expected, found = alone("products", *CASES), together(size, "products", *CASES)
    assert [sum(rank[i]["samples"] for rank in found) for i in range(4)] == [7, 7, 50, 50]
    for number, reference in enumerate(expected):
        for rank in found:
            mine = rank[number]
            # Only the order of summation differs.
            for name in ("loss", "test_loss", "train_accuracy"):
                assert mine[name] == pytest.approx(reference[name], rel=1e-12)
            for name in ("gradient", "products"):
                a, b = torch.tensor(mine[name]), torch.tensor(reference[name])
                assert float((a - b).norm()) <= 1e-12 * float(b.norm()) + 1e-15
        assert found[0][number]["gradient"] == found[-1][number]["gradient"]  # the same bits


def _assert_same(found, expected):
    """Rows equal to rounding: counts and statuses exactly, numbers to 1e-8 after 500 steps."""
    for mine, theirs in zip(
        found["crossings"] + found["trajectory"],
        expected["crossings"] + expected["trajectory"],
        strict=True,
    ):
        for name, value in theirs.items():
            if isinstance(value, float) and "residual" not in name:
                assert mine[name] == pytest.approx(value, rel=1e-8, abs=1e-12), name
            elif not isinstance(value, float):
                assert mine[name] == value, name


@pytest.mark.parametrize("size", [2, 3])
def test_whole_trials_are_those_of_one_rank(together, alone, size):
    arguments = [{"learning_rate": rate} for rate in (0.05, 0.15, None)]
    expected, found = alone("trial", *arguments), together(size, "trial", *arguments)
    assert [each["crossings"][0]["status"] for each in expected] == ["reached"] * 3
    for rank in found:
        for mine, theirs in zip(rank, expected, strict=True):
            _assert_same(mine, theirs)


@pytest.mark.parametrize("learning_rate", [0.05, None])
def test_a_trial_goes_on_with_another_number_of_ranks(together, alone, tmp_path, learning_rate):
    trial = {"learning_rate": learning_rate}
    (expected,) = alone("trial", trial)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    stopped = together(2, "trial", {**trial, "save": first, "until": 10})
    assert stopped[0] == stopped[1]
    assert 10 <= stopped[0][0]["step"] <= 13
    (further,) = alone("trial", {**trial, "load": first, "save": second, "until": 15})
    assert further["step"] >= 15
    for rank in together(3, "trial", {**trial, "load": second}):
        _assert_same(rank[0], expected)


def test_more_ranks_than_samples_are_refused(together):
    expected = (
        "workers is 2; it must be at most 1, the number of training samples (n_train), so that "
        "each worker has one"
    )
    assert together(2, "placement", {}) == [[expected], [expected]]


@pytest.mark.parametrize(("way", "most"), [("leaves", 2.5), ("dies", 2.5), ("hangs", 6)])
def test_a_rank_that_is_gone_fails_the_others_within_a_bounded_time(together, way, most):
    (found,) = together(2, "broken", {"way": way})[0]
    assert found["error"].startswith("rank 0 of 2 waited for another rank in vain: ")
    assert found["seconds"] < most
