"""The one kind of error that this package tells its user, as one sentence."""


class LoopbackError(Exception):
    """The private SLURM could not do what was asked; the message says why and what would help."""
