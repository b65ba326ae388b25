"""One of several processes that compute together: ``rank.py RANK SIZE PORT TIMEOUT FOLDER CASES``.

Each of the cases is the name of a function below and its arguments; what they found is written to
``FOLDER/RANK.json``.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import distributed as dist

from jobs import OngoingTrial, Problem, Protocol, Trial
from jobs.curvature.hessian import Hessian
from jobs.problem import PlacementError, pose
from jobs.process_group import Alone, ProcessGroup, RankError
from jobs.spec import FURTHER_MEASURES

PROBLEM = {"dataset": "digits", "width": 6, "depth": 1, "activation": "tanh", "dtype": "float64"}


def products(ranks, n_train, loss, weight_decay=None):
    """Loss, gradient and a Hessian product at θ0 of a small network."""
    problem = Problem(**PROBLEM, n_train=n_train, loss=loss, weight_decay=weight_decay)
    train, test, theta = pose(problem, ranks=ranks)
    value, gradient = train.gradient(theta)
    vectors = torch.stack([theta, gradient])
    return {
        "samples": len(train.inputs),
        "loss": value,
        "gradient": gradient.tolist(),
        "products": Hessian(train, theta).products(vectors).tolist(),
        "test_loss": test.evaluate(theta).loss,
        "train_loss": train.evaluate(theta).loss,
        "train_accuracy": train.evaluate(theta).accuracy,
    }


def trial(ranks, learning_rate, kind=None, load=None, save=None, until=None):
    """The rows and the trajectory of a trial, or its step where all agreed to stop."""
    spec = Trial(
        problem=Problem(**PROBLEM, n_train=40),
        protocol=Protocol(epsilons=(0.3, 0.2), max_steps=500, trajectory_every=20),
        kind=kind or ("gd" if learning_rate else "flow"),
        learning_rate=learning_rate,
    )
    run = OngoingTrial(spec, threads=1, ranks=ranks)
    if load:
        run.restore(Path(load))
    if until and ranks.rank == 0:  # the others stop where the votes tell them to
        run.advance(lambda: run.step >= until)
        ranks.wants_stop = True
    if not run.advance():
        if ranks.rank == 0:
            run.save(Path(save))
        return {"step": run.step}
    result = run.result()
    return {
        "crossings": [asdict(crossing) for crossing in result.crossings],
        "trajectory": [asdict(point) for point in result.trajectory],
    }


def measured(ranks):
    """All further measures of GD at two points, after some steps."""
    spec = Trial(
        problem=Problem(**PROBLEM, n_train=40),
        protocol=Protocol(
            epsilons=(0.1,),
            max_steps=15,
            trajectory_every=20,
            also=FURTHER_MEASURES,
            eigenvalues=1,
            midpoint=True,
            probes=2,
        ),
        kind="gd",
        learning_rate=0.1,
    )
    run = OngoingTrial(spec, threads=1, ranks=ranks)
    run.advance()
    return [asdict(one) for one in run.result().crossings[0].measures]


def placement(ranks):
    """What is said of more ranks than samples."""
    try:
        pose(Problem(**PROBLEM, n_train=1), ranks=ranks)
    except PlacementError as error:
        return str(error)


def meeting(ranks):
    """The sum over the ranks of their numbers."""
    return float(ranks.sum_(torch.tensor([float(ranks.rank)])))


def held(ranks, until):
    """Nothing, until a file is there."""
    while not Path(until).exists():
        time.sleep(0.01)


def broken(ranks, way, until):
    """What rank 0 says of a rank that leaves, dies or hangs, and is there until a file is."""
    pose(Problem(**PROBLEM, n_train=7), ranks=ranks)  # with all that it imports
    ranks.sum_(torch.ones(1))
    if ranks.rank == 1:
        if way == "leaves":
            ranks.leave()
        if way == "dies":
            os._exit(9)
        return held(ranks, until)
    try:
        ranks.sum_(torch.ones(1))
    except RankError as error:
        return str(error)


def main():
    rank, size, port, timeout, folder, cases = sys.argv[1:]
    torch.set_num_threads(1)
    if size == "1":
        ranks = Alone()
    else:
        store = dist.TCPStore("127.0.0.1", int(port), is_master=False)
        ranks = ProcessGroup(
            store,
            int(rank),
            int(size),
            address="127.0.0.1",
            secret=os.environ.get("SECRET", "of these ranks").encode(),
            timeout=int(timeout),
        )
    found = [globals()[name](ranks, **arguments) for name, arguments in json.loads(cases)]
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    if size != "1":
        ranks.leave()  # else gloo's threads may outlive what they use, and abort the process


main()
