"""Any sweep, written as a file, reads back as itself."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from support.sweeps import QUICKSTART

from jobs.spec import ACTIVATIONS, DTYPES, FURTHER_MEASURES, LOSSES, Problem, Protocol
from jobs.spec.problem import MOST_DEPTH, MOST_TRAIN, MOST_WIDTH, NORMALIZATIONS
from jobs.spec.protocol import MOST_PROBES
from orchestrator.sweep import (
    Axis,
    Condition,
    EtaGrid,
    Grid,
    Match,
    Resources,
    Sweep,
    dump,
    load,
    parse,
)

OTHER_TYPES = """
1e-3 1e3 null yes 0x10 0o17 017 1_000 12:30 ~ # = << 2020-01-01 True .inf
""".split()  # noqa: SIM905
NAMES = st.text("abcXYZ019-_ .é:#'\"{}[]&*!|>%@`?~=", min_size=1, max_size=12) | st.sampled_from(
    [*OTHER_TYPES, " a ", "a: b", "# a"]
)


def axis(field: str, values: st.SearchStrategy[str | int | float]) -> st.SearchStrategy[Axis]:
    listed = st.lists(values, min_size=1, max_size=2, unique=True)
    return listed.map(lambda chosen: Axis(field=field, values=tuple(chosen)))


WHOLE = st.integers(1, 2**63 - 1)
WIDTH = st.integers(1, MOST_WIDTH)
NUMBER = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
PLAIN_GRIDS = st.builds(
    lambda axes, width, **others: Grid(axes=(*axes, *width), **others),
    axes=st.tuples(
        axis("dataset", NAMES),
        axis("n_train", st.integers(1, MOST_TRAIN)),
        axis("subset", st.sampled_from(["first", "balanced", "seeded-3"])),
        axis("normalization", st.none() | st.sampled_from(NORMALIZATIONS)),
        axis("architecture", st.sampled_from(["fcn", "cnn"])),
        axis("depth", st.integers(1, MOST_DEPTH)),
        axis("activation", st.none() | st.sampled_from(ACTIVATIONS)),
        axis("loss", st.sampled_from([*LOSSES, "ce(smoothing=0.1)"])),
        axis("weight_decay", st.none() | NUMBER),
        axis("init_scale", NUMBER),
        axis("seed", st.integers(0, 2**63 - 1)),
        axis("dtype", st.sampled_from(DTYPES)),
    ),
    width=st.one_of(
        st.tuples(axis("width", st.none() | WIDTH), axis("parameterization", st.just("standard"))),
        st.tuples(axis("parameterization", st.just("mup")), axis("base_width", WIDTH)),
    ),
    protocol=st.builds(
        Protocol,
        epsilons=st.lists(NUMBER, min_size=1, max_size=3).map(tuple),
        max_steps=WHOLE,
        max_time=st.none() | NUMBER | st.sampled_from(["flow 2", "flow 0.5"]),
        divergence_factor=st.floats(1, 1e300, exclude_min=True),
        trajectory_every=st.none() | WHOLE | st.sampled_from(["time 0.5", "factor 1.2"]),
        trajectory_eigenvalues=st.integers(0, 100),
        sharpness_rtol=st.floats(1e-6, 1, exclude_max=True),
        flow_method=st.sampled_from(["rkc2", "rk4"]),
        also=st.lists(st.sampled_from(FURTHER_MEASURES), max_size=3),
        eigenvalues=st.integers(0, 100),
        midpoint=st.booleans(),
        probes=st.none() | st.integers(2, MOST_PROBES),
        perturbation=st.none() | NUMBER,
    ),
    eta=st.builds(
        EtaGrid,
        unit=st.sampled_from(["eta_c", "init_sharpness", "absolute"]),
        multiples=st.lists(NUMBER, min_size=1, max_size=4).map(tuple),
    ),
    stop_after_divergences=st.none() | WHOLE,
    resources=st.builds(
        Resources,
        workers=st.just(1),  # never more than there are samples
        gpus_per_worker=st.sampled_from([None, 0, 1, 0.25]),
        cpus_per_worker=WHOLE,
        memory_gib_per_worker=st.none() | NUMBER,
        keep=st.sampled_from([(), ("thresholds",), ("thresholds", 0, 10), (3,)]),
    ),
)


FIELDS = [field.name for field in dataclasses.fields(Problem)]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Grids with axes that advance together, exclusions and conditions, in the file's order."""
    plain = draw(PLAIN_GRIDS)
    axes = tuple(sorted(plain.axes, key=lambda axis: FIELDS.index(axis.field)))
    two = [axis for axis in axes if len(axis.values) == 2]
    *zipped, excluded = draw(st.permutations([axis.field for axis in two])) if two else [""]
    grid = dataclasses.replace(
        plain,
        axes=axes,
        zipped=(tuple(zipped),) if len(zipped) > 1 and draw(st.booleans()) else (),
        exclude=tuple(
            Match(fields=(Axis(field=axis.field, values=axis.values[:1]),))
            for axis in two
            if axis.field == excluded and None not in axis.values and draw(st.booleans())
        ),
    )
    matched = next(iter(grid.setups(set())))[0].problem
    seeds = next(axis for axis in axes if axis.field == "seed")
    condition = st.builds(
        Condition,
        match=st.sampled_from(["dataset", "width", "loss", "activation"]).map(
            lambda field: Match(fields=(Axis(field=field, values=(getattr(matched, field),)),))
        ),
        axes=st.sampled_from([(), (Axis(field="seed", values=(*seeds.values, 2**62 - 1)),)]),
        changes=st.tuples(
            NUMBER.map(lambda rate: ("eta.values", (rate,))),
            NUMBER.map(lambda epsilon: ("stop.epsilon", (epsilon,))),
            WHOLE.map(lambda steps: ("stop.max_steps", steps)),
        ),
    )
    return dataclasses.replace(grid, when=tuple(draw(st.lists(condition, max_size=2))))


GRIDS = grids()


@settings(deadline=None, max_examples=50)
@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True), GRIDS)
def test_a_dumped_sweep_reads_back_as_itself(name: str, grid: Grid) -> None:
    sweep = Sweep(name=name, grids=(grid,))
    assert parse(dump(sweep)) == sweep


@settings(deadline=None, max_examples=20)
@given(GRIDS, GRIDS)
def test_a_dumped_union_reads_back_as_itself(first: Grid, second: Grid) -> None:
    apart = dataclasses.replace(  # the same handling, so that shared columns are no conflict
        second,
        stop_after_divergences=first.stop_after_divergences,
        resources=first.resources,
    )
    sweep = Sweep(name="union", grids=(first, apart))
    assert parse(dump(sweep)) == sweep


def test_a_dumped_quickstart_leaves_nothing_to_defaults() -> None:
    sweep = load(QUICKSTART)
    text = dump(sweep)
    assert parse(text) == sweep
    assert dump(parse(text)) == text
    for resolved in ("method: rkc2", "divergence_factor: 1000.0", "dtype: float32", "- 0.25\n"):
        assert resolved in text
