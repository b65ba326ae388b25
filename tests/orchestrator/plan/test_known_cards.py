"""GPUs by the name that a driver, a site or a shop gives them."""

from __future__ import annotations

import pytest

from orchestrator.plan.known_cards import ACHIEVED, CARDS, known_card


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A10", "A10"),
        ("a100", "A100"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA RTX A6000", "RTX A6000"),
    ],
)
def test_a_card_is_found_by_its_name(name, card) -> None:
    speed, (single, double, bandwidth) = known_card(name), CARDS[card]
    assert speed is not None
    assert speed.flops["float32"] == pytest.approx(single * 1e12 * ACHIEVED)
    assert speed.flops["float64"] == pytest.approx(double * 1e12 * ACHIEVED)
    assert speed.nbytes == pytest.approx(bandwidth * 1e9 * ACHIEVED)


@pytest.mark.parametrize("name", ["", "unknown", "NVIDIA A1000", "A100X", "AMD Instinct MI250X"])
def test_of_any_other_nothing_is_known(name) -> None:
    assert known_card(name) is None


def test_what_was_measured_of_one_is_within_a_tenth_of_what_the_table_says() -> None:
    """On an H200: 51.2 Tflop/s in float32, and 4,267 GB/s of 4,800."""
    speed = known_card("NVIDIA H200")
    assert speed is not None
    assert speed.flops["float32"] == pytest.approx(51.2e12, rel=0.1)
    assert speed.nbytes == pytest.approx(4267e9, rel=0.2)
