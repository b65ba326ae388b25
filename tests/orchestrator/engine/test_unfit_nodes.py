"""A trial that failed for its node has not failed: the node gets no more, another node gets it."""

from __future__ import annotations

import dataclasses
import pickle
from types import SimpleNamespace

import pytest
import torch
from ray.tune.search import Searcher

from jobs.problem import NoDeviceError, PlacementError
from orchestrator.cluster import Node
from orchestrator.engine import execution
from orchestrator.engine.attempt import AttemptInProgress
from orchestrator.engine.capacity import NodePool
from orchestrator.engine.failures import (
    UnfitNodeError,
    classify,
    fault_of_node,
    node_blamed,
)
from orchestrator.engine.tune_experiment import WorkSearcher, _resources
from orchestrator.engine.work_queue import QueueClosedError, WorkQueue
from orchestrator.engine.worker import Worker
from orchestrator.ledger import Leases, Ledger, read_marks
from orchestrator.store import Store
from orchestrator.sweep import Resources

GPU = Resources(gpus_per_worker=1)
N1, N2 = Node("id1", cpus=4, gpus=2, memory=8), Node("id2", cpus=4, gpus=2, memory=8)

FAULTS = [
    "CUDA error: no CUDA-capable device is detected\nCUDA kernel errors might be reported later",
    "No CUDA GPUs are available",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
    "The NVIDIA driver on your system is too old (found version 11040).",
    "Torch not compiled with CUDA enabled",
    "CUDA error: initialization error",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: all CUDA-capable devices are busy or unavailable",
    "CUDA unknown error - this may be due to an incorrectly set up environment",
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before",
]
"""Messages of PyTorch and the driver."""


@pytest.mark.parametrize("text", FAULTS)
def test_messages_of_the_driver_about_a_device_are_the_nodes_fault(text):
    assert fault_of_node(RuntimeError(text)) == text.partition("\n")[0]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        PlacementError("workers is 9; it must be at most 8, the number of training samples"),
        ValueError("the loss is not finite"),
    ],
)
def test_what_a_trial_can_cause_is_not_the_nodes_fault(error):
    assert fault_of_node(error) is None


def test_a_node_is_blamed_for_its_devices_but_not_for_what_fails_on_its_cpus(monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    with (
        pytest.raises(UnfitNodeError, match="node n7 is unfit: no GPU") as seen,
        node_blamed("cuda"),
    ):
        raise NoDeviceError("no GPU")
    assert classify(seen.value) == "unfit_node"
    again = pickle.loads(pickle.dumps(seen.value))  # as it goes through Ray
    assert (again.node, again.reason, str(again)) == ("n7", "no GPU", str(seen.value))
    with pytest.raises(NoDeviceError), node_blamed("cpu"):
        raise NoDeviceError("no GPU")
    with pytest.raises(KeyError), node_blamed("cuda"):
        raise KeyError("a fault of the trial's")


def in_batches(work, size=4):
    """The work with its trials in batches, as on a GPU that was measured."""
    together = (dataclasses.replace(one, batch_size=size) for one in work.assignments)
    return dataclasses.replace(work, assignments=tuple(together))


@pytest.mark.parametrize("together", [False, True])
def test_a_worker_without_a_gpu_records_a_fault_of_its_node_and_ends(bench, monkeypatch, together):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    trial = bench.trials()[0]
    work = bench.work([trial], resources=GPU)
    worker = Worker({"work": in_batches(work) if together else work})
    with pytest.raises(UnfitNodeError, match="torch finds no GPU here"):
        worker.step()
    (row,) = Store(bench.path).rows("attempts")
    assert (row["outcome"], row["failure_class"]) == ("failed", "unfit_node")
    assert "node n7 is unfit" in row["error"]
    state = Ledger(bench.path).read([bench.column])
    assert not list(state.failures())
    assert state.last_attempt(trial.trial_id, trial.column_id) == 1
    assert not state.suspect(trial.trial_id, trial.column_id)


@pytest.mark.parametrize(
    ("error", "outcomes"),
    [
        (RuntimeError("uncorrectable ECC error encountered"), ["failed"] * 3),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), []),
    ],
    ids=["node", "process"],
)
def test_a_batch_on_a_gpu_whose_node_or_process_is_spoilt_ends_the_worker(
    bench, monkeypatch, error, outcomes
):
    """Of an unknown cause, its trials stay marked: they are lost with the process, and go alone."""

    def fail(runs, until):
        raise error

    on_cpu = property(lambda _: "cpu", lambda *_: None)
    monkeypatch.setattr(AttemptInProgress, "device", on_cpu, raising=False)
    monkeypatch.setattr(execution, "advance", fail)
    trials = bench.trials()[:3]
    worker = Worker({"work": in_batches(bench.work(trials, resources=GPU))})
    with pytest.raises((UnfitNodeError, RuntimeError), match=r"ECC|illegal"):
        worker.step()
    rows = Store(bench.path).rows("attempts")
    assert [row["outcome"] for row in rows] == outcomes
    assert {row["failure_class"] for row in rows} <= {"unfit_node"}
    assert len(list(read_marks(bench.path))) == (0 if outcomes else 3)


@pytest.fixture
def make_queue(bench, column):
    """A queue over a column of GPU trials whose flow is settled, on two nodes."""
    leases = []

    def make(nodes=(N1, N2)):
        leases.append(Leases(bench.path, None))
        ledger = Ledger(bench.path)
        queue = WorkQueue(
            bench.path,
            ledger.read([bench.gpu_column]).begun(),
            leases[-1],
            ledger,
            bench.provenance,
            bench.stop_file,
            warn=said.append,
        )
        queue.use(nodes)
        return queue

    said = []
    bench.gpu_column = dataclasses.replace(column, resources=GPU)
    bench.settle_flow(seconds=60.0)
    make.said = said
    yield make
    for lease in leases:
        lease.release_all()


def unfit(node):
    return UnfitNodeError(node.node_id, f"host of {node.node_id}", "its GPU fell off the bus")


def fail(bench, searcher, tune_id, work, node):
    """Let the first trial of a work fail on a node, as an worker there and Tune would."""
    name = work.assignments[0].trial.trial_id
    hand_over(bench, work, unfit(node))
    searcher.errors[tune_id] = SimpleNamespace(cause=unfit(node))  # as Ray wraps it
    searcher.on_trial_complete(tune_id, error=True)
    return name


def hand_over(bench, work, error):
    attempt = AttemptInProgress(work, work.assignments[0])
    attempt.mark()
    attempt.end("failed", error)


def test_a_trial_that_failed_for_its_node_goes_to_another(make_queue, bench):
    queue = make_queue()
    searcher = WorkSearcher(queue, lambda: False, lambda: None)
    assert queue.slots == 4
    work = searcher.suggest("t1")["work"]
    assert work.avoided == ()
    for attempt in range(1, 4):  # no number of unfit nodes makes a trial fail
        name = fail(bench, searcher, f"t{attempt}", work, N1)
        work = searcher.suggest(f"t{attempt + 1}")["work"]
        assert work.assignments[0].trial.trial_id == name
        assert work.assignments[0].attempt == attempt + 1
        assert work.avoided == ("id1",)
    assert queue.slots == 2
    assert not list(queue.state.failures())
    assert queue.stranded is None
    assert [text for text in make_queue.said if "unfit" in text] == [
        "node host of id1 is unfit: its GPU fell off the bus; it gets no more trials"
    ]


def test_without_a_fit_node_the_run_ends_with_one_sentence_and_nothing_spent(make_queue, bench):
    queue = make_queue()
    searcher = WorkSearcher(queue, lambda: queue.stranded is not None, lambda: None)
    first, second = searcher.suggest("t1")["work"], searcher.suggest("t2")["work"]
    fail(bench, searcher, "t1", first, N1)
    fail(bench, searcher, "t2", second, N2)
    assert searcher.suggest("t3") == Searcher.FINISHED
    assert queue.stranded == (
        "no fit node is left for the trials that remain: node host of id1 is unfit: its GPU fell "
        "off the bus; node host of id2 is unfit: its GPU fell off the bus"
    )
    assert queue.snapshot().trials.failed == 0
    assert queue.snapshot().trials.to_do == len(bench.trials())
    assert make_queue.said[-1] == queue.stranded


def test_what_still_runs_goes_on_when_no_fit_node_is_left(make_queue, bench):
    queue = make_queue(nodes=(N1,))
    searcher = WorkSearcher(queue, lambda: False, lambda: None)
    first, second = searcher.suggest("t1")["work"], searcher.suggest("t2")["work"]
    fail(bench, searcher, "t1", first, N1)
    assert searcher.suggest("t3") is None
    assert queue.stranded is None
    fail(bench, searcher, "t2", second, N1)
    assert searcher.suggest("t3") == Searcher.FINISHED
    assert queue.stranded is not None


def test_trials_fit_where_each_of_their_processes_has_its_own_share_of_a_node():
    both = NodePool((N1, N2))
    assert both.slots(GPU) == 4
    assert both.slots(Resources(cpus_per_worker=3)) == 2
    assert both.slots(Resources(workers=3, gpus_per_worker=1)) == 1
    assert both.slots(Resources(workers=3, gpus_per_worker=2)) == 0
    assert NodePool().slots(GPU) == 0
    # N1 and N2 have two GPUs each; a fraction is one of one card, so that 0.4 fits twice on each.
    assert both.slots(Resources(gpus_per_worker=0.5)) == 8
    assert both.slots(Resources(gpus_per_worker=0.4)) == 8
    assert both.slots(Resources(gpus_per_worker=0.1)) == 8  # of CPUs there are no more


def test_a_work_is_placed_on_no_node_that_it_avoids(make_queue, bench):
    queue = make_queue()
    anywhere = _resources({"work": queue.next_work()})
    queue.avoid(unfit(N1))
    elsewhere = _resources({"work": queue.next_work()})
    assert anywhere.bundles == elsewhere.bundles == [{"CPU": 1.0, "GPU": 1.0}]
    # Tune keeps an worker for the next work only where both ask for the same.
    assert anywhere != elsewhere
    assert elsewhere._bound.arguments["bundle_label_selector"] == [{"ray.io/node-id": "!in(id1)"}]


def test_a_closed_queue_hands_nothing_out_and_takes_nothing_in(make_queue):
    queue = make_queue()
    searcher = WorkSearcher(queue, lambda: False, lambda: None)
    searcher.suggest("t1")
    queue.close()
    with pytest.raises(QueueClosedError):
        searcher.suggest("t2")
    with pytest.raises(QueueClosedError):
        searcher.on_trial_complete("t1", error=True)
