"""The table of columns, and labels that tell them apart in the fewest words."""

from orchestrator.store import COLUMNS


def labels(sweep, problems) -> list[object]:
    return [row["label"] for row in sweep(problems, lambda *_: {}).rows("columns")]


def test_a_column_has_its_problem_and_what_was_computed_of_it(sweep) -> None:
    tables = sweep([{"width": 64}, {"width": 16}], lambda *_: {}, epsilons=(0.1, 0.05, 0.02))
    assert tables.tables["columns"].schema.equals(COLUMNS)
    first, second = tables.rows("columns")
    assert (first["column_id"], first["width"], first["base_width"]) == ("0000-column", 64, None)
    assert (second["width"], second["n_trials"], second["n_epsilon"]) == (16, 2, 3)


def test_a_label_has_the_fields_that_vary_and_no_others(sweep) -> None:
    problems = [
        {"width": 64, "seed": seed, "loss": loss} for seed in (0, 1) for loss in ("mse", "ce")
    ]
    assert labels(sweep, problems) == ["mse · seed 0", "ce · seed 0", "mse · seed 1", "ce · seed 1"]


def test_what_follows_from_another_field_is_left_out(sweep) -> None:
    """Mup has a base width, and another dataset its own normalization."""
    problems = [
        {"parameterization": "standard"},
        {"parameterization": "mup", "base_width": 16},
    ]
    assert labels(sweep, problems) == ["standard", "mup"]
    twice = [*problems, {"parameterization": "mup", "base_width": 32}]
    assert labels(sweep, twice) == ["standard", "mup · base width 16", "mup · base width 32"]
    data = [{}, {"dataset": "cifar10", "normalization": "feature"}]
    assert labels(sweep, data) == ["mnist-mini", "cifar10"]


def test_numbers_are_short_and_networks_of_a_file_lose_their_digest(sweep) -> None:
    problems = [
        {"init_scale": 0.5},
        {"init_scale": 2.0, "architecture": "my.py:build@0123456789abcdef"},
    ]
    assert labels(sweep, problems) == ["fcn · init scale 0.5", "my.py:build · init scale 2"]


def test_a_field_that_a_problem_has_not_got_says_nothing(sweep) -> None:
    problems = [{}, {"architecture": "diagonal", "width": None, "activation": None}]
    assert labels(sweep, problems) == ["fcn · width 32 · tanh", "diagonal"]


def test_one_column_is_named_and_equal_problems_are_told_apart(sweep) -> None:
    assert labels(sweep, [{}]) == ["mnist-mini · fcn"]
    assert labels(sweep, [{}, {}]) == ["mnist-mini · fcn · 0000-col", "mnist-mini · fcn · 0001-col"]
