"""Stops that say nothing of where GD settles."""

ACCIDENTAL_STOP = 1.5
"""S·η/2 above which a stop is an accident: GD leaves every minimum where S > 2/η, and can only
have hit the threshold in passing, on a chaotic orbit (seen at 1.92). What settles at the edge of
stability has 0.95 to 1.1, and a loose threshold stops an oscillation at up to about 1.3."""
