"""What a process was granted, from the environments that SLURM makes."""

from __future__ import annotations

import os

import pytest

from orchestrator.cluster import AllocationError, here
from orchestrator.cluster.allocation import expand_counts, expand_nodes

JOB = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "a1", "SLURM_JOB_NODELIST": "a1"}
STEP = {
    **JOB,
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "a[1-3]",
    "SLURM_JOB_NODELIST": "a[1-3]",
    "SLURM_NODEID": "2",
    "SLURM_LOCALID": "0",
}
MANY = range(64)


def test_outside_of_slurm_it_is_this_machine() -> None:
    found = here({}, range(6))
    assert (found.nodes, found.leads, found.cpus, found.gpus) == (("localhost",), True, 6, None)
    assert found.job_id is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n1,m2", ["n1", "m2"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10,12],login", ["n08", "n09", "n10", "n12", "login"]),
        ("r[1-2]c[1,3]-ib", ["r1c1-ib", "r1c3-ib", "r2c1-ib", "r2c3-ib"]),
    ],
)
def test_lists_of_nodes_are_read_as_slurm_writes_them(text: str, names: list[str]) -> None:
    assert expand_nodes(text) == names


def test_lists_of_counts_are_read_as_slurm_writes_them() -> None:
    assert expand_counts("24(x2)") == [24, 24]
    assert expand_counts("24,16(x3)") == [24, 16, 16, 16]
    with pytest.raises(AllocationError, match=r"'many'.*24\(x2\),16"):
        expand_counts("many")


def test_a_step_knows_its_node_and_all_others() -> None:
    found = here({**STEP, "SLURM_RESTART_COUNT": "2"}, MANY)
    assert found.nodes == ("a1", "a2", "a3")
    assert (found.node_id, found.leads, found.key) == (2, False, "17.2.0")


def test_cpus_are_those_granted_not_those_of_the_host() -> None:
    assert here({**JOB, "SLURM_CPUS_ON_NODE": "8"}, MANY).cpus == 8
    assert here({**JOB, "SLURM_JOB_CPUS_PER_NODE": "24(x2)"}, MANY).cpus == 24
    counts = {**STEP, "SLURM_JOB_CPUS_PER_NODE": "24,16(x2)"}
    assert here(counts, MANY).cpus == 16
    assert here({**STEP, "SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, MANY).cpus == 4


def test_a_process_bound_to_fewer_cpus_uses_those_and_says_so() -> None:
    found = here({**JOB, "SLURM_CPUS_ON_NODE": "2"}, [0])
    assert found.cpus == 1
    if (os.cpu_count() or 1) > 1:
        assert found.hint is not None
        assert "granted 2 CPUs" in found.hint
        assert "--cpus-per-task=2" in found.hint
    assert here({**JOB, "SLURM_CPUS_ON_NODE": "1"}, [0]).hint is None


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0,1,3", 3),
        ("GPU-aaaa,GPU-bbbb", 2),
        ("MIG-1c/2/0", 1),
        ("NoDevFiles", 0),
        ("", 0),
    ],
)
def test_gpus_are_counted_by_whatever_names_them(visible: str, gpus: int) -> None:
    assert here({**JOB, "CUDA_VISIBLE_DEVICES": visible}, MANY).gpus == gpus


def test_a_job_without_gpus_has_none_even_where_the_host_has_some() -> None:
    assert here(JOB, MANY).gpus == 0
    assert here({**JOB, "SLURM_GPUS_ON_NODE": "4"}, MANY).gpus == 4


def test_memory_is_what_slurm_granted() -> None:
    assert here({**JOB, "SLURM_MEM_PER_NODE": "3000"}, MANY).memory == 3000 * 2**20
    per_cpu = {**JOB, "SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "4"}
    assert here(per_cpu, MANY).memory == 2000 * 2**20
    per_gpu = {**JOB, "SLURM_MEM_PER_GPU": "700", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert here(per_gpu, MANY).memory == 1400 * 2**20
    assert here({**JOB, "SLURM_MEM_PER_NODE": "0"}, MANY).memory is None


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SLURM_JOB_ID": "17"}, "srun --ntasks-per-node=1"),
        ({**JOB, "SLURM_JOB_NODELIST": "a[1-2]"}, "has 2 nodes.*srun --ntasks-per-node=1"),
        ({**STEP, "SLURM_LOCALID": "1"}, "several processes on one node"),
    ],
)
def test_a_process_started_the_wrong_way_is_told_the_right_one(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(AllocationError, match=words):
        here(environment, MANY)
