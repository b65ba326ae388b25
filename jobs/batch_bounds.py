"""Up to which size the GD trials of a column go as one batch on a device; without torch."""

from __future__ import annotations

from dataclasses import dataclass

MOST_TRIALS, MOST_TINY_TRIALS = {"cpu": 16, "cuda": 32}, 64
"""How many trials a batch is worth, by kind of device, and how many where there is little but fixed
costs to share. On a GPU all learning rates of a column go together."""

BYTES = {"float32": 4, "float64": 8}
"""Of a number, by dtype."""


@dataclass(frozen=True)
class BatchBounds:
    """Up to which size of a problem batches save time on a device.

    The size is parameters × samples × bytes of a number; parameters × samples are the multiply-adds
    of a forward pass. The rule knows no number of trials: every repetition batches the same trials.

    Attributes:
        most_bytes: up to here, trials go in batches of at most ``trials``.
        tiny_bytes: up to here, in batches of at most ``MOST_TINY_TRIALS``.
        memory: bytes that a process may use of a GPU by default; None for a CPU.
        trials: how many trials a batch is worth.
        pays_from: from here on a GPU is faster than its share of the machine's cores; None where it
            never is, and for a CPU.
    """

    most_bytes: int
    tiny_bytes: int
    memory: int | None = None
    trials: int = MOST_TRIALS["cpu"]
    pays_from: int | None = None

    def most_trials(self, parameters: int, samples: int, dtype: str) -> int:
        """How many trials of a problem a batch holds at most; 0 where batches save nothing."""
        size = parameters * samples * BYTES[dtype]
        if size > self.most_bytes:
            return 0
        return MOST_TINY_TRIALS if size <= self.tiny_bytes else self.trials


MEASURED_ONCE = BatchBounds(most_bytes=16_000_000, tiny_bytes=1_000_000)
"""Those of one core of a server (AMD EPYC, 2025), for a device that cannot be measured."""
