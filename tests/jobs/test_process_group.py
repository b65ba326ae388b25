"""Several processes compute what one computes: gradients, products, whole trials, checkpoints."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support.forked import Forked

from jobs.process_group import Alone, Ranks, open_store

SCRIPT = Path(__file__).parent / "processes" / "rank.py"


PRODUCTS = [("products", {"n_train": n, "loss": loss}) for n in (7, 50) for loss in ("mse", "ce")]
PRODUCTS.append(("products", {"n_train": 7, "loss": "ce", "weight_decay": 0.3}))
TRIALS = [("trial", {"learning_rate": rate}) for rate in (0.05, 0.15, None)]
CENTRAL = ("trial", {"learning_rate": 0.15, "kind": "central"})
MOVED = {0.05: 0, None: 2}
"""Rates of the trials that go on with another number of ranks; which of TRIALS they are."""


def _together(folder, size, *cases, timeout=60, fresh=False):
    """Do the cases of ``processes/rank.py`` in so many processes; what each of them found."""
    store = open_store("127.0.0.1")
    given = [str(size), str(store.port), str(timeout), str(folder), json.dumps(cases)]
    ranks = [[str(rank), *given] for rank in range(size)]
    if fresh:
        processes = [subprocess.Popen([sys.executable, SCRIPT, *one]) for one in ranks]
    else:
        processes = [Forked(SCRIPT, *one, folder=folder) for one in ranks]
    for process in processes:
        process.wait(timeout=300)
    files = [folder / f"{rank}.json" for rank in range(size)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


@dataclass
class Found:
    """What one, two and three ranks found: for every rank a list with an item for every case."""

    products: dict[int, list]
    trials: dict[int, list]
    central: dict[int, list]
    measured: dict[int, list]
    stopped: list  # by two ranks, of which one was asked to stop at step 10 of the moved trials
    further: list  # by one rank that went on from there to step 15
    moved: list  # by three ranks that went on from there to the end
    refused: list  # by two ranks for one sample


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All that ranks compute."""
    folder = tmp_path_factory.mktemp("ranks")

    def moved(load=None, save=None, until=None):
        def path(name, rate):
            return name and str(folder / f"{name}-{rate}")

        return [
            ("trial", {"learning_rate": rate, "load": path(load, rate), "save": path(save, rate),
                       "until": until})
            for rate in MOVED
        ]  # fmt: skip

    compared = [*PRODUCTS, *TRIALS, CENTRAL, ("measured", {})]
    trials, end = slice(len(PRODUCTS), len(compared) - 2), len(compared)
    one = _together(folder, 1, *compared)
    two = _together(folder, 2, *compared, *moved(save="at-10", until=10), ("placement", {}))
    further = _together(folder, 1, *moved(load="at-10", save="at-15", until=15))
    three = _together(folder, 3, *compared, *moved(load="at-15"))
    sizes = {1: one, 2: two, 3: three}
    return Found(
        products={size: [rank[: len(PRODUCTS)] for rank in found] for size, found in sizes.items()},
        trials={size: [rank[trials] for rank in found] for size, found in sizes.items()},
        central={size: [rank[end - 2] for rank in found] for size, found in sizes.items()},
        measured={size: [rank[end - 1] for rank in found] for size, found in sizes.items()},
        stopped=[rank[end : end + len(MOVED)] for rank in two],
        further=further[0],
        moved=[rank[end:] for rank in three],
        refused=[rank[-1] for rank in two],
    )


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


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_and_products_are_those_of_one_rank(found, size):
    (expected,), ranks = found.products[1], found.products[size]
    assert [sum(rank[i]["samples"] for rank in ranks) for i in range(5)] == [7, 7, 50, 50, 7]
    for number, reference in enumerate(expected):
        for rank in ranks:
            mine = rank[number]
            # Only the order of summation differs.
            assert mine["loss"] == pytest.approx(mine["train_loss"], rel=1e-12)
            for name in ("loss", "test_loss", "train_accuracy"):
                assert mine[name] == pytest.approx(reference[name], rel=1e-12)
            for name in ("gradient", "products"):
                a, b = torch.tensor(mine[name]), torch.tensor(reference[name])
                assert float((a - b).norm()) <= 1e-12 * float(b.norm()) + 1e-15
        assert ranks[0][number]["gradient"] == ranks[-1][number]["gradient"]  # the same bits


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
def test_whole_trials_are_those_of_one_rank(found, size):
    (expected,) = found.trials[1]
    assert [each["crossings"][0]["status"] for each in expected] == ["reached"] * 3
    assert len(found.trials[size]) == size
    for rank in found.trials[size]:
        for mine, theirs in zip(rank, expected, strict=True):
            _assert_same(mine, theirs)


@pytest.mark.parametrize("size", [2, 3])
def test_central_flows_are_those_of_one_rank_within_their_tolerance(found, size):
    """Rounding decides whether eigenvectors that are good to 1e-3 get another block of products."""
    (expected,) = found.central[1]
    for rank in found.central[size]:
        assert rank == found.central[size][0]  # the same bits
        for mine, theirs in zip(rank["crossings"], expected["crossings"], strict=True):
            assert mine["status"] == theirs["status"]
            for name in ("time", "train_loss", "test_loss", "sharpness", "l1_norm"):
                assert mine[name] == pytest.approx(theirs[name], rel=1e-3), name
            assert mine["oscillation"] == pytest.approx(theirs["oscillation"], abs=1e-4)


@pytest.mark.parametrize("size", [2, 3])
def test_further_measures_are_those_of_one_rank(found, size):
    (expected,) = found.measured[1]
    # At two points 5 of θ, an eigenvalue among them, a distance, and norms of it and 4 tensors.
    assert len(expected) == 2 * (5 + 1 + 3 * 5)
    assert len(found.measured[size]) == size
    for rank in found.measured[size]:
        assert rank == found.measured[size][0]  # the same bits
        for mine, theirs in zip(rank, expected, strict=True):
            for name, value in theirs.items():
                if isinstance(value, float) and name != "residual":
                    assert mine[name] == pytest.approx(value, rel=1e-8, abs=1e-12), theirs
                elif name != "residual":
                    assert mine[name] == value


@pytest.mark.parametrize("learning_rate", MOVED)
def test_a_trial_goes_on_with_another_number_of_ranks(found, learning_rate):
    number = list(MOVED).index(learning_rate)
    expected = found.trials[1][0][MOVED[learning_rate]]
    stopped = [rank[number] for rank in found.stopped]
    assert stopped[0] == stopped[1]
    assert 10 <= stopped[0]["step"] <= 13
    assert found.further[number]["step"] >= 15
    assert len(found.moved) == 3
    for rank in found.moved:
        _assert_same(rank[number], expected)


def test_more_ranks_than_samples_are_refused(found):
    expected = (
        "workers is 2; it must be at most 1, the number of training samples (n_train), so that "
        "each worker has one"
    )
    assert found.refused == [expected, expected]


@pytest.mark.parametrize(("way", "timeout"), [("leaves", 3600), ("dies", 3600), ("hangs", 3)])
def test_a_rank_that_is_gone_fails_the_others(tmp_path, way, timeout):
    """At once where it has closed its connections, else when the timeout is over.

    The other rank stays until this one has failed.
    """
    case = ("broken", {"way": way, "until": str(tmp_path / "0.json")})
    # What a rank imports once it is in the group can keep the connections from closing, and a
    # process that is forked has imported it before.
    (error,) = _together(tmp_path, 2, case, timeout=timeout, fresh=way == "leaves")[0]
    assert error.startswith("rank 0 of 2 waited for another rank in vain: ")
