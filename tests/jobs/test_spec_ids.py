"""How trials and columns are named: what changes an id, and what must not."""

import dataclasses
import hashlib
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs
from jobs import Problem, Protocol, Trial
from jobs.spec import canonical_json, column_id

ROOT = Path(jobs.__file__).parent.parent

# Computed once. A change here means that finished trials would be computed again: raise
# SCHEMA_VERSION on purpose, never by accident.
GOLDEN = """\
from jobs.spec import Problem, Protocol, Trial
trials = {
    ("a6a4aa178766b40a", "864ed18434dec196"): Trial(
        problem=Problem(dataset="mnist-mini", n_train=4000),
        protocol=Protocol(epsilons=(0.1,)),
        kind="gd",
        learning_rate=0.1,
    ),
    ("d18ca653af089e82", "f0b6c19fe951cb25"): Trial(
        problem=Problem(
            dataset="digits", n_train=50, width=8, depth=0, activation="gelu", loss="ce",
            init_scale=1 / 3, seed=7, dtype="float64",
        ),
        protocol=Protocol(
            epsilons=(0.3, 0.1, 1e-3), max_steps=10, divergence_factor=2.5,
            trajectory_every=7, sharpness_rtol=1e-6,
        ),
        kind="gd",
        learning_rate=1e-3,
    ),
    ("23e3494f338ebe1e", "5027e0805dcc354c"): Trial(
        problem=Problem(dataset="mnist-mini", n_train=1, activation="tanh", init_scale=5e-324),
        protocol=Protocol(epsilons=(0.1 + 0.2, 1e300)),
        kind="flow",
    ),
    ("9ad01d86d2a790b3", "f371b003dd0371a6"): Trial(
        problem=Problem(dataset="mnist-mini", n_train=1, activation="tanh", init_scale=5e-324),
        protocol=Protocol(epsilons=(0.1 + 0.2, 1e300), flow_method="rk4"),
        kind="flow",
    ),
    ("79fcd1e8b0cd2a82", "e9cae70a0cae5afd"): Trial(
        problem=Problem(dataset="Ziffern-\\u00c4", n_train=3),
        protocol=Protocol(epsilons=(2,)),
        kind="gd",
        learning_rate=1 / 3,
    ),
}
found = {(trial.trial_id, trial.column_id) for trial in trials.values()}
assert found == set(trials), found
"""

BASE = Trial(
    problem=Problem(dataset="digits", n_train=50, parameterization="ntk", base_width=64),
    protocol=Protocol(epsilons=(0.1,), also=("average_sharpness",)),
    kind="gd",
    learning_rate=0.1,
)

OTHER_PROBLEM = {
    "dataset": "mnist-mini",
    "n_train": 51,
    "subset": "seeded-1",
    "normalization": "none",
    "architecture": "cnn",
    "width": 201,
    "depth": 3,
    "activation": "tanh",
    "loss": "ce",
    "weight_decay": 0.01,
    "parameterization": "mup",
    "base_width": 65,
    "init_scale": math.nextafter(1, 2),
    "seed": 1,
    "dtype": "float64",
}
OTHER_PROTOCOL = {
    "epsilons": (math.nextafter(0.1, 1),),
    "max_steps": 100_001,
    "max_time": 7.0,
    "divergence_factor": 1001.0,
    "trajectory_every": 51,
    "trajectory_eigenvalues": 2,
    "sharpness_rtol": 2e-3,
    "lambda_min_rtol": 1e-2,
    "flow_method": "other",
    "also": ("trace", "average_sharpness"),
    "eigenvalues": 1,
    "midpoint": True,
    "probes": 101,
    "perturbation": 0.2,
}


@pytest.fixture
def more_choices(monkeypatch):
    """A further choice of the flow's method."""
    methods = (*jobs.spec.protocol.FLOW_METHODS, "other")
    monkeypatch.setattr("jobs.spec.protocol.FLOW_METHODS", methods)


def test_ids_are_the_golden_ones():
    exec(GOLDEN, {})


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_ids_do_not_depend_on_the_hash_seed(hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", GOLDEN], cwd=ROOT, env=environment, check=True)


def _other_pythons():
    """How to start every Python ≥ 3.11 on PATH; pyenv's launchers must be told which they are."""
    for minor in range(11, 20):
        name = f"python3.{minor}"
        if shutil.which(name) is None:
            continue
        environment = {**os.environ, "PYENV_VERSION": f"3.{minor}"}
        probe = [name, "-S", "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
        probed = subprocess.run(probe, env=environment, capture_output=True, text=True, check=False)
        if probed.stdout.strip() == f"3.{minor}":
            yield name, environment


def test_ids_are_the_same_in_every_other_python():
    for name, environment in _other_pythons():
        # -S keeps out the packages: the names of trials need the standard library only.
        subprocess.run([name, "-S", "-c", GOLDEN], cwd=ROOT, env=environment, check=True)


def test_an_id_is_sixteen_hexadecimal_digits():
    assert len(BASE.trial_id) == 16
    assert set(BASE.trial_id + BASE.column_id) <= set("0123456789abcdef")


def test_int_and_float_spellings_of_a_number_are_one_trial():
    def make(one, two):
        return Trial(
            problem=Problem(dataset="digits", n_train=50, init_scale=one),
            protocol=Protocol(epsilons=(one, two), divergence_factor=two),
            kind="gd",
            learning_rate=two,
        )

    assert make(1, 2) == make(1.0, 2.0)
    assert make(1, 2).trial_id == make(1.0, 2.0).trial_id
    assert make(1, 2).column_id == make(1.0, 2.0).column_id


@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    epsilons=st.lists(st.floats(min_value=1e-9, max_value=10), min_size=1, max_size=6),
    random=st.randoms(use_true_random=False),
)
def test_order_and_repetition_of_thresholds_do_not_matter(epsilons, random):
    shuffled = epsilons + epsilons[:2]
    random.shuffle(shuffled)
    one, two = Protocol(epsilons=tuple(epsilons)), Protocol(epsilons=tuple(shuffled))
    assert one == two
    assert list(one.epsilons) == sorted(set(epsilons), reverse=True)
    assert column_id(BASE.problem, one) == column_id(BASE.problem, two)


def test_a_list_of_thresholds_is_as_good_as_a_tuple():
    assert Protocol(epsilons=[0.1, 0.2]) == Protocol(epsilons=(0.2, 0.1))


@pytest.mark.usefixtures("more_choices")
@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Problem)])
def test_every_field_of_the_problem_changes_the_ids(field):
    changed = dataclasses.replace(BASE.problem, **{field: OTHER_PROBLEM[field]})
    other = dataclasses.replace(BASE, problem=changed)
    assert other.trial_id != BASE.trial_id
    assert other.column_id != BASE.column_id


@pytest.mark.usefixtures("more_choices")
@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Protocol)])
def test_every_field_of_the_protocol_but_the_time_of_gd_changes_the_flows_id_and_the_columns(field):
    flow = dataclasses.replace(BASE, kind="flow", learning_rate=None)
    changed = dataclasses.replace(BASE.protocol, **{field: OTHER_PROTOCOL[field]})
    other = dataclasses.replace(flow, protocol=changed)
    # That bounds GD alone.
    assert (other.trial_id == flow.trial_id) == (field == "max_time")
    assert (other.column_id == flow.column_id) == (field == "max_time")


@pytest.mark.usefixtures("more_choices")
@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Protocol)])
def test_every_field_of_the_protocol_but_the_flow_method_changes_the_id_of_gd(field):
    changed = dataclasses.replace(BASE.protocol, **{field: OTHER_PROTOCOL[field]})
    other = dataclasses.replace(BASE, protocol=changed)
    assert (other.trial_id == BASE.trial_id) == (field == "flow_method")


@pytest.mark.usefixtures("more_choices")
def test_the_flow_method_changes_the_id_of_gd_that_is_compared_with_the_flow():
    protocol = dataclasses.replace(BASE.protocol, also=("distance_from_flow",))
    ids = {
        dataclasses.replace(
            BASE, protocol=dataclasses.replace(protocol, flow_method=method)
        ).trial_id
        for method in ("rkc2", "other")
    }
    assert len(ids) == 2


def test_the_learning_rate_changes_the_trial_and_not_the_column():
    other = dataclasses.replace(BASE, learning_rate=math.nextafter(0.1, 1))
    flow = dataclasses.replace(BASE, kind="flow", learning_rate=None)
    assert len({BASE.trial_id, other.trial_id, flow.trial_id, BASE.column_id}) == 4
    assert BASE.column_id == other.column_id == flow.column_id


def test_the_column_of_a_trial_is_that_of_its_problem_and_protocol():
    assert BASE.column_id == column_id(BASE.problem, BASE.protocol)


@pytest.mark.parametrize("kind", ["flow", "gd", "column"])
def test_a_name_is_the_hash_of_the_canonical_json_of_all_that_changes_a_number(kind):
    eta = 0.1 if kind == "gd" else None
    trial = Trial(
        problem=Problem(dataset='"é\\ ', n_train=3, init_scale=0.3),
        protocol=Protocol(epsilons=(0.3, 0.1), flow_method="rk4"),
        kind="gd" if kind == "gd" else "flow",
        learning_rate=eta,
    )
    content = {
        "schema": jobs.spec.SCHEMA_VERSION,
        "kind": kind,
        "problem": dataclasses.asdict(trial.problem),
        "protocol": dataclasses.asdict(trial.protocol),
    }
    # What came later is not named where there is none of it.
    del content["problem"]["weight_decay"]
    del content["protocol"]["trajectory_eigenvalues"], content["protocol"]["max_time"]
    if kind != "column":
        content["learning_rate"] = eta
    if kind == "gd":
        del content["protocol"]["flow_method"]
    name = hashlib.sha256(jobs.spec.canonical_json(content).encode()).hexdigest()[:16]
    assert name == (trial.column_id if kind == "column" else trial.trial_id)


def test_the_schema_version_is_part_of_every_id(monkeypatch):
    monkeypatch.setattr("jobs.spec.trial.SCHEMA_VERSION", jobs.spec.SCHEMA_VERSION + 1)
    # A trial may keep its ids once they were asked for: each of these two is asked once.
    raised = dataclasses.replace(BASE)
    ids = raised.trial_id, raised.column_id
    monkeypatch.undo()
    assert dataclasses.replace(BASE).trial_id != ids[0]
    assert dataclasses.replace(BASE).column_id != ids[1]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.floats(allow_nan=False))
def test_the_canonical_spelling_of_a_float_is_exact(value):
    spelling = canonical_json({"value": value})
    assert float.fromhex(spelling.split('"')[3]) == value


def test_the_canonical_spelling_keeps_int_and_float_apart_and_sorts_keys():
    assert canonical_json({"b": 1, "a": (1.0, None)}) == (
        '{"a":["0x1.0000000000000p+0",null],"b":1}'
    )
