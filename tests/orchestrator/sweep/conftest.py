"""A small sweep file that the tests change."""

import pytest

SMALL = """\
name: small
problem:
  dataset: digits
  n_train: 100
  width: 64
eta:
  values: [0.5, 1, 2]
stop:
  epsilon: 0.1
"""


@pytest.fixture
def small() -> str:
    return SMALL
