"""Time limits mean what SLURM takes them to mean."""

import math

import pytest

from orchestrator.slurm import times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * 60),
        ("1:30", 90),
        ("1:30:00", 5400),
        ("01:30:00", 5400),
        ("1-0", 86_400),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:15", 131_415),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
        ("-1", math.inf),
        ("0", math.inf),
    ],
)
def test_every_form_of_slurm_is_read(text: str, seconds: float) -> None:
    assert times.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "1:2:3:4", "1-", "-5", "1.5", "1-2-3", "1_000", "0x10"])
def test_what_slurm_does_not_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="D-HH"):
        times.seconds(text)


def test_minutes_are_rounded_up_as_slurm_does() -> None:
    assert times.minutes("1:30") == 2
    assert times.minutes("UNLIMITED") is None
