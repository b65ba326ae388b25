"""Every sweep that cannot be run is refused by one sentence that names what is wrong."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs.spec import Protocol
from orchestrator.sweep import (
    Axis,
    EtaGrid,
    Grid,
    Resources,
    Sweep,
    SweepError,
    load,
    parse,
)
from orchestrator.sweep.schema import KEYS

RANGE = (
    "[low, high, count] with finite 0 < low < high and a whole count of at least 2, "
    "at most 100000, or low = high and count 1"
)
RATES = (
    "a list of finite numbers above 0, {geometric: [low, high, count]} "
    "or {linear: [low, high, count]}"
)
POSITIVE = "a finite number above 0"
WHOLE = "a whole number of at least 1"
BLOCK = (
    "label, start, kinds, problem, optimizer, eta, stop, flow, measure, resources, zip, exclude, "
    "when"
)
TOP = f"a sweep file has {BLOCK}, name, grids, base, unite"
PROBLEM = (
    "dataset, n_train, subset, normalization, architecture, width, depth, activation, loss, "
    "weight_decay, parameterization, base_width, init_scale, seed, dtype"
)
MEASURES = "trace, frobenius, adaptive_sharpness, average_sharpness, norms, distance_from_flow"
NAME = "text of at most 100 letters, digits, '.', '_' and '-' that begins with a letter or digit"

BY_OVERRIDE = {
    # unknown keys
    "problem.widht=3": "problem.widht is not a known key; did you mean problem.width?",
    "problm.width=3": "problm.width is not a known key; did you mean problem.width?",
    "width=3": "width is not a known key; did you mean problem.width?",
    "problem={widht: 3}": "problem.widht is not a known key; did you mean problem.width?",
    "qqq=3": f"qqq is not a known key; {TOP}",
    "qqq.zzz=3": f"qqq.zzz is not a known key; {TOP}",
    "problem.init=3": "problem.init is not a known key; did you mean problem.init_scale?",
    "problem.unit=3": "problem.unit is not a known key; did you mean eta.unit?",
    "problem.unot=3": f"problem.unot is not a known key; problem has {PROBLEM}",
    "bases=x.yaml": "bases is not a known key; did you mean base?",
    "base=x.yaml": "base is on the command line; it must stand in a sweep file",
    "unite=[x.yaml]": "unite is on the command line; it must stand in a sweep file",
    "eta.refine={kink: 0}": "eta.refine.kink is 0; it must be a number above 0, relative to η, or "
    "null to ask for nothing",
    "eta.refine={most: 0}": "eta.refine.most is 0; it must be a whole number from 1 to 1000",
    "eta.refine=3": "eta.refine is 3; it must be null, or a block with kink, divergence, valley "
    "and most, such as {kink: 0.01, most: 40}",
    "eta.refine={knk: 1}": "eta.refine.knk is not a known key; did you mean eta.refine.kink?",
    "eta.qqq=3": "eta.qqq is not a known key; eta has unit, values, stop_after_divergences, refine",
    "=3": f"'' is not a known key; {TOP}",
    "eta.values={geometrc: [1, 2, 3]}": "eta.values.geometrc is not a known key; "
    "did you mean eta.values.geometric?",
    "eta={values: {<list>: 1}}": "eta.values.'<list>' is not a known key; "
    "eta.values has geometric, linear",
    "problem={<list>: 1}": f"problem.'<list>' is not a known key; problem has {PROBLEM}",
    "grids=[{}, {problem: {widht: 3}}]": "grids[1].problem.widht is not a known key; "
    "did you mean grids[1].problem.width?",
    "grids=[{name: other}]": "grids[0].name is not a known key; did you mean grids[0].label?",
    "grids=[{1: other}]": f"grids[0].1 is not a known key; grids[0] has {BLOCK}",
    # whole numbers
    "problem.width=64.0": f"problem.width is 64.0; it must be {WHOLE}",
    "problem.width=true": f"problem.width is true; it must be {WHOLE}",
    "problem.width='64'": f"problem.width is '64'; it must be {WHOLE}",
    "problem.n_train=null": f"problem.n_train is null; it must be {WHOLE}",
    "problem.width=[64, -1]": f"problem.width is -1; it must be {WHOLE}",
    "problem.width=[[64]]": f"problem.width is [64]; it must be {WHOLE}",
    "problem.width={a: 64}": f"problem.width is {{'a': 64}}; it must be {WHOLE}",
    "problem.n_train=0": f"problem.n_train is 0; it must be {WHOLE}",
    "problem.seed=-1": "problem.seed is -1; it must be a whole number of at least 0",
    "problem.seed=9223372036854775808": "problem.seed is 9223372036854775808; "
    "it must be a number below 2**63",
    "stop.max_steps=0": f"stop.max_steps is 0; it must be {WHOLE}",
    "stop.max_time=flows 3": "stop.max_time is 'flows 3'; it must be a number above 0, the time, "
    "or 'flow K' with K above 0, in units of the flow's",
    "stop.max_time=0": f"stop.max_time is 0; it must be {POSITIVE}",
    "stop.max_steps=[1, 2]": f"stop.max_steps is [1, 2]; it must be {WHOLE}",
    "measure.trajectory_every=0.5": f"measure.trajectory_every is 0.5; it must be {WHOLE}",
    "eta.stop_after_divergences=0": "eta.stop_after_divergences is 0; "
    "it must be a whole number of at least 1, or null to try every learning rate",
    "eta.stop_after_divergences=true": "eta.stop_after_divergences is true; "
    "it must be a whole number of at least 1, or null to try every learning rate",
    # other numbers
    "problem.init_scale=0": f"problem.init_scale is 0; it must be {POSITIVE}",
    "problem.init_scale=true": f"problem.init_scale is true; it must be {POSITIVE}",
    "problem.init_scale=1e999": f"problem.init_scale is .inf; it must be {POSITIVE}",
    "stop.epsilon=.nan": f"stop.epsilon is .nan; it must be {POSITIVE}",
    "stop.epsilon=[0.1, -.inf]": f"stop.epsilon is -.inf; it must be {POSITIVE}",
    "stop.epsilon='0.1'": f"stop.epsilon is '0.1'; it must be {POSITIVE}",
    "stop.divergence_factor=1": "stop.divergence_factor is 1; it must be a finite number above 1",
    "measure.sharpness_rtol=1.0": "measure.sharpness_rtol is 1.0; it must be between 0 and 1",
    # further measures
    "measure.also=[trace, norm]": "measure.also is 'norm'; it must be one of "
    f"{MEASURES} (did you mean norms?)",
    "measure.also=[3]": f"measure.also is 3; it must be one of {MEASURES}",
    "measure.also=null": f"measure.also is null; it must be one of {MEASURES}",
    "measure.eigenvalues=-1": "measure.eigenvalues is -1; it must be a whole number of at least 0",
    "measure.eigenvalues=101": "measure.eigenvalues is 101; it must be at most 100",
    "measure.midpoint=1": "measure.midpoint is 1; it must be true or false",
    "measure.probes=1": "measure.probes is 1; it must be a whole number of at least 2",
    "measure.perturbation=0": f"measure.perturbation is 0; it must be {POSITIVE}",
    "measure.eigenvalue=3": "measure.eigenvalue is not a known key; "
    "did you mean measure.eigenvalues?",
    # axes
    "problem.width=[]": "problem.width is []; it must be a value or a list of at least one",
    "stop.epsilon=[]": "stop.epsilon is []; it must be at least one loss threshold",
    # choices and text
    "problem.architecture=fnc": "problem.architecture is 'fnc'; it must be one of fcn, cnn, "
    "resnet, vit, diagonal, diagonal-difference",
    "problem.activation=[tanh, tan]": "problem.activation is 'tan'; "
    "it must be one of relu, tanh, gelu, elu, softplus",
    "problem.dataset=3": "problem.dataset is 3; it must be the name of a dataset",
    "problem.dataset=false": "problem.dataset is false; it must be the name of a dataset",
    "problem.dataset=''": "problem.dataset is ''; it must be the name of a dataset",
    "eta.unit=eta": "eta.unit is 'eta'; it must be one of eta_c, init_sharpness, absolute",
    "flow.method=euler": "flow.method is 'euler'; it must be one of default, rkc2, rk4",
    "name=a/b": f"name is 'a/b'; it must be {NAME}",
    "name=..": f"name is '..'; it must be {NAME}",
    "name=2024": f"name is 2024; it must be {NAME}",
    'name="a\\n"': f"name is 'a\\n'; it must be {NAME}",
    # learning rates
    "eta.values=1": f"eta.values is 1; it must be {RATES}",
    "eta.values=[]": f"eta.values is []; it must be {RATES}",
    "eta.values=[1, 0]": f"eta.values is 0; it must be {POSITIVE}",
    "eta.values=[true]": f"eta.values is true; it must be {POSITIVE}",
    "eta.values={}": f"eta.values is {{}}; it must be {RATES}",
    "eta.values={linear: [1, 2, 2], geometric: [1, 2, 2]}": "eta.values is {'linear': [1, 2, 2], "
    f"'geometric': [1, 2, 2]}}; it must be {RATES}",
    "eta.values.geometric=null": f"eta.values.geometric is null; it must be {RANGE}",
    "eta.values.geometric=[1, 2]": f"eta.values.geometric is [1, 2]; it must be {RANGE}",
    "eta.values.geometric=[1, 2, 3.0]": f"eta.values.geometric is [1, 2, 3.0]; it must be {RANGE}",
    "eta.values.geometric=[1, 2, true]": f"eta.values.geometric is [1, 2, True]; "
    f"it must be {RANGE}",
    "eta.values.geometric=[2, 1, 3]": f"eta.values.geometric is [2, 1, 3]; it must be {RANGE}",
    "eta.values.geometric=[1, 1, 3]": f"eta.values.geometric is [1, 1, 3]; it must be {RANGE}",
    "eta.values.geometric=[1, 2, 1]": f"eta.values.geometric is [1, 2, 1]; it must be {RANGE}",
    "eta.values.geometric=[1, 2, 100001]": "eta.values.geometric is [1, 2, 100001]; "
    f"it must be {RANGE}",
    "eta.values.linear=[-1, 2, 3]": f"eta.values.linear is -1; it must be {POSITIVE}",
    "eta.values.linear=[1, .inf, 3]": f"eta.values.linear is .inf; it must be {POSITIVE}",
    # resources
    "resources.workers=0": f"resources.workers is 0; it must be {WHOLE}",
    "resources.memory_gib_per_worker=0": "resources.memory_gib_per_worker is 0; "
    "it must be a finite number above 0, or null for a fair share of what there is",
    "resources.memory_gib_per_worker=2GB": "resources.memory_gib_per_worker is '2GB'; "
    "it must be a finite number above 0, or null for a fair share of what there is",
    "resources.gpus_per_worker=2": "resources.gpus_per_worker is 2; it must be 0, 1, a "
    "fraction of a GPU between them, or null for one where that pays",
    "resources={gpus_per_worker: 0.5, workers: 2}": "resources.gpus_per_worker is 0.5; it must be "
    "0 or 1 where a trial has several workers: NCCL connects no two on one GPU",
    "resources.cpus_per_worker=0": f"resources.cpus_per_worker is 0; it must be {WHOLE}",
    # lists without brackets
    "problem.activation=relu,tanh": "problem.activation is 'relu,tanh'; it must be one of relu, "
    "tanh, gelu, elu, softplus; did you mean [relu,tanh]?",
    "problem={width: '64, 128'}": f"problem.width is '64, 128'; it must be {WHOLE}; "
    "did you mean [64,128]?",
    "stop.epsilon=0.1,5e-2": f"stop.epsilon is '0.1,5e-2'; it must be {POSITIVE}; "
    "did you mean [0.1,5e-2]?",
    "measure.also=trace,norms": f"measure.also is 'trace,norms'; it must be one of {MEASURES}; "
    "did you mean [trace,norms]?",
    "problem.dataset=digits,mnist": "problem.dataset is 'digits,mnist'; it must be a name, or a "
    "name with its options in brackets; did you mean [digits,mnist]?",
    "stop.max_steps=1,2": f"stop.max_steps is '1,2'; it must be {WHOLE}",
    # blocks
    "flow=null": "flow is null; it must be a block with the keys method",
    "problem=[1]": f"problem is [1]; it must be a block with the keys {PROBLEM}",
    "grids={}": "grids is {}; it must be a list of blocks",
    "grids=[3]": "grids[0] is 3; it must be a block of keys such as problem and eta",
    "grids=[{problem: {depth: -1}}]": "grids[0].problem.depth is -1; "
    "it must be a whole number of at least 0",
    # the override itself
    "problem.width": "the override 'problem.width' has no '='; "
    "it must be KEY=VALUE, such as problem.width=128",
    "problem.width=": "the override 'problem.width=' has no value; it must be problem.width=VALUE",
    "problem.width=[1": "problem.width is '[1'; "
    "it must be a YAML value with balanced brackets and quotes",
    "problem.width=]": "problem.width is ']'; "
    "it must be a YAML value with balanced brackets and quotes",
    # numbers and truth values by YAML 1.1 that are text by YAML 1.2
    "problem.width=0x_": f"problem.width is '0x_'; it must be {WHOLE}",
    "problem.width=12:30": f"problem.width is '12:30'; it must be {WHOLE}",
    "problem.width=1_000": f"problem.width is '1_000'; it must be {WHOLE}",
    "problem.width=0b11": f"problem.width is '0b11'; it must be {WHOLE}",
    "problem.init_scale=yes": f"problem.init_scale is 'yes'; it must be {POSITIVE}",
    "measure.midpoint=on": "measure.midpoint is 'on'; it must be true or false",
    # keys that are not text, and characters that are none
    "problem.dataset={null: 1}": "problem.dataset is {'null': 1}; it must be the name of a dataset",
    "problem.dataset={[a]: 1}": "problem.dataset has a key on line 1 that is not text; "
    "it must be one word",
    'problem.dataset="\\ud800"': "problem.dataset is '\"\\\\ud800\"'; "
    "it must be a YAML value with balanced brackets and quotes",
    # sizes
    "problem.depth=999999999": "problem.depth is 999999999; "
    "it must be a whole number of at most 1000",
    "problem.width=100001": "problem.width is 100001; it must be a whole number of at most 100000",
    "problem.n_train=10000001": "problem.n_train is 10000001; "
    "it must be a whole number of at most 10000000",
    "measure.probes=1000001": "measure.probes is 1000001; "
    "it must be a whole number of at most 1000000",
    # what YAML or Hydra would fill in or run
    "problem.dataset=${oc.env:HOME}": "problem.dataset is '${oc.env:HOME}'; "
    "it must be a plain value, for ${...} is not filled in here",
    "problem.width=[1, '${name}']": "problem.width is '${name}'; "
    "it must be a plain value, for ${...} is not filled in here",
    "problem.dataset=!!python/object/apply:os.getcwd []": "problem.dataset has the YAML tag "
    "'!!python/object/apply:os.getcwd'; it must be a plain value",
    "problem={width: 1, width: 2}": "problem.width is given twice, on lines 1 and 1; "
    "it must be given once",
}

BY_TEXT = {
    "": "the file is empty; it must be a mapping with name, problem, ...",
    "# only a comment\n": "the file is empty; it must be a mapping with name, problem, ...",
    "- a\n- b": "the file is a list; it must be a mapping with name, problem, ...",
    "text": "the file is a single value; it must be a mapping with name, problem, ...",
    "3": "the file is a single value; it must be a mapping with name, problem, ...",
    "a: 1\n---\nb: 2": "the file has several YAML documents; it must be one",
    "name: x\nstop: {}\nname: y": "name is given twice, on lines 1 and 3; it must be given once",
    "grids:\n- eta: {unit: eta_c}\n- eta:\n    unit: eta_c\n    'unit': absolute": "grids[1].eta"
    ".unit is given twice, on lines 4 and 5; it must be given once",
    "a: &x 1\nb: *x": "b is the YAML alias '*x'; it must be written out "
    "(blocks of grids share what stands outside them)",
    "a: &x [*x]": "a is the YAML alias '*x'; it must be written out "
    "(blocks of grids share what stands outside them)",
    "!!python/object:os.system {}": "the file has the YAML tag '!!python/object:os.system'; "
    "it must be a plain value",
    "? [a]\n: b": "the file has a key on line 1 that is not text; it must be one word",
    "null: 3": f"null is not a known key; {TOP}",
    'problem: {dataset: "\\ud800"}': "the file is not readable at line 1, near problem.dataset "
    "(found invalid Unicode character escape code); it must be YAML with balanced brackets and "
    "quotes",
    '"a\\nb": 3': f"'a\\nb' is not a known key; {TOP}",
    "[" * 50 + "]" * 50: "the file is nested too deeply; it must be a plain value",
    "name: small": f"problem is missing; it must be a block with the keys {PROBLEM}",
    "name: small\nproblem: {}": "problem.dataset is missing; it must be the name of a dataset",
    "problem: {dataset: digits, n_trian: 3}": "problem.n_trian is not a known key; "
    "did you mean problem.n_train?",
    "problem: {dataset: digits, n_train: 3}\neta: {values: [1]}\nstop: {epsilon: 1}": "name is "
    f"missing; it must be {NAME}",
    "grids: [{}]": f"name is missing; it must be {NAME}",
    "name: small\neta: {values: [1]}\nstop: {epsilon: 1}\ngrids:\n"
    "- problem: {dataset: digits, n_train: 3}\n- problem: {dataset: digits}": "grids[1].problem."
    "n_train is missing; it must be a whole number of at least 1",
}


def sentence(text: str, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SweepError) as refused:
        parse(text, overrides, source="the file")
    message = str(refused.value)
    assert message.isprintable()  # so it is one line
    assert not re.search(r"pydantic|omegaconf|Traceback", message, re.IGNORECASE)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return message


@pytest.mark.parametrize(("override", "expected"), BY_OVERRIDE.items(), ids=BY_OVERRIDE)
def test_a_wrong_value_is_refused_by_one_sentence(small: str, override: str, expected: str) -> None:
    assert sentence(small, (override,)) == expected


@pytest.mark.parametrize(("text", "expected"), BY_TEXT.items())
def test_a_wrong_file_is_refused_by_one_sentence(text: str, expected: str) -> None:
    assert sentence(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [("name: a\nproblem: b: c\n", 2), ("name: a\n\tstop: 1\n", 2), ("name: a\nx: '\\0'\n\0", 3)],
)
def test_unreadable_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    assert sentence(text).startswith(f"the file is not readable at line {line}")


def test_a_very_long_number_is_named_by_its_key_and_shortened() -> None:
    message = sentence("problem:\n  seed: " + "9" * 5000)
    assert message.startswith("problem.seed is '999")
    assert message.endswith("it must be at most 1000 characters long")
    assert len(message) < 200


def test_an_override_given_twice_is_refused(small: str) -> None:
    message = sentence(small, ("problem.width=1", "name=x", "problem.width=2"))
    assert message == (
        "problem.width is overridden twice, by 'problem.width=1' and 'problem.width=2'; "
        "it must be overridden once"
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stop.epsilon", [1 / n for n in range(1, 1002)], "at most 1000 loss thresholds"),
        ("eta.values", list(range(1, 100_002)), "a list of at most 100000 learning rates"),
        ("exclude", [{"problem.seed": n} for n in range(1001)], "a list of at most 1000 blocks"),
    ],
)
def test_a_list_that_is_too_long_is_refused(
    small: str, key: str, value: list[object], expected: str
) -> None:
    message = sentence(small, (f"{key}={json.dumps(value)}",))
    assert message.startswith(f"{key} is [")
    assert f"...; it must be {expected}" in message


def test_a_sweep_of_too_many_columns_is_refused_before_it_is_expanded(small: str) -> None:
    thousand = list(range(1, 1001))  # 1000 ** 3 problems
    overrides = tuple(f"problem.{key}={thousand}" for key in ("n_train", "width", "depth"))
    assert sentence(small, overrides) == (
        "the sweep has 1000000000 columns; it must have at most 1000000"
    )


@pytest.mark.parametrize(
    ("first", "second", "key", "values"),
    [
        ("{}", "{eta: {stop_after_divergences: null}}", "eta.stop_after_divergences", "null 2"),
        (
            "{resources: {cpus_per_worker: 3}}",
            "{problem: {width: [32, 64]}}",
            "resources.cpus_per_worker",
            "1 3",
        ),
        (
            "{resources: {gpus_per_worker: 0}}",
            "{resources: {gpus_per_worker: 1}}",
            "resources.gpus_per_worker",
            "1 0",
        ),
    ],
)
def test_blocks_that_handle_one_column_differently_are_refused(
    small: str, first: str, second: str, key: str, values: str
) -> None:
    theirs, mine = values.split()
    assert sentence(small, (f"grids=[{first}, {second}]",)) == (
        f"grids[1].{key} is {theirs} but grids[0].{key} is {mine} for the same column; "
        "it must be the same in both"
    )


def test_a_sweep_built_by_hand_names_the_block_of_a_wrong_problem() -> None:
    def grid(width: int) -> Grid:
        return Grid(
            axes=(
                Axis(field="dataset", values=("digits",)),
                Axis(field="n_train", values=(1,)),
                Axis(field="width", values=(width,)),
            ),
            protocol=Protocol(epsilons=(0.1,)),
            eta=EtaGrid(unit="eta_c", multiples=(1.0,)),
            stop_after_divergences=2,
            resources=Resources(),
        )

    with pytest.raises(SweepError, match=re.escape("grids[1].problem.width is 0; it must be")):
        Sweep(name="by-hand", grids=(grid(1), grid(0))).columns  # noqa: B018
    with pytest.raises(SweepError, match=r"^problem\.width is 0; it must be"):
        Sweep(name="by-hand", grids=(grid(0),)).columns  # noqa: B018


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: é".encode("latin-1"))
    empty = tmp_path / "empty.yaml"
    empty.touch()
    for path, problem in [
        (tmp_path / "none.yaml", "does not exist; it must be a readable YAML file"),
        (tmp_path, "is a directory; it must be a readable YAML file"),
        (latin, "is not UTF-8 text; it must be a readable YAML file"),
        (empty, "is empty; it must be a mapping with name, problem, ..."),
        (empty / "below", "cannot be read (Not a directory); it must be a readable YAML file"),
        (Path("a\0b"), "cannot be read (no such name can exist); it must be a readable YAML file"),
    ]:
        with pytest.raises(SweepError) as refused:
            load(path)
        message = str(refused.value)
        assert message.startswith("the sweep file '")
        assert message.endswith(problem)
        assert message.isprintable()


def test_the_environment_is_never_read(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "EOS_SECRET", "hidden")
    assert "hidden" not in sentence(small, ("problem.dataset=${oc.env:EOS_SECRET}",))


PIECES = """
- [ ] { } : , ? = ! & * | > # % @ ` ' " <<: &a *a !!set !!float ${ ??? ~ null yes 0x_ 0b_ ._ .inf
1e3 1_0 2020-01-01 1:30 --- ...
""".split()  # noqa: SIM905
BLANKS = [
    " ",
    "\n",
    "\n  ",
    "\n- ",
    ": ",
    "\n---\n",
    "%YAML 1.1\n",
    "\t",
    "\0",
    "\x85",
    "\u2028",
    "\ufeff",
]
WORDS = st.sampled_from([*KEYS, *(key.name for key in KEYS.values()), *PIECES, *BLANKS])
GARBAGE = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map("".join))
UNHURRIED = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@UNHURRIED
@given(GARBAGE)
@example("!!float x: 1")
@example("<<: [1]")
@example("'<list>': 1")
@example("name: \ud800")
@example('name: "\\ud800"')
@example("a: " + "[" * 5000)
@example("= : 1")
def test_garbage_is_refused_and_never_breaks_the_reader(text: str) -> None:
    with pytest.raises(SweepError) as refused:
        parse(text)
    assert str(refused.value).isprintable()


@UNHURRIED
@given(st.sampled_from(sorted(KEYS)), GARBAGE)
@example("problem.dataset", "=")
@example("eta.values", "{? [a] : b}")
@example("grids", "[{<<: {}}]")
@example("grids", "[null]")
def test_a_garbage_override_is_refused_or_taken(small: str, key: str, value: str) -> None:
    with contextlib.suppress(SweepError):
        parse(small, [f"{key}={value}"])
