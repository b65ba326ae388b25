"""What numbers a statement about η_c is held against, each with its reason."""

FLAT = 0.05
"""Relative range of S below η_c that still is flat."""

EDGE = (0.9, 1.15)
"""Of the median S·η/2 above η_c: theory has 1, and a loose threshold stops up to 15 % above it."""

KINK = (0.8, 1.35)
"""Of the fitted η_c over the predicted one."""

SAME_SHARPNESS = 0.05
"""Relative difference of S below η_c from the flow's that still is none: the range of FLAT."""

SAME_NORM = 0.02
"""Relative difference of ℓ1 norms below η_c from the flow's that still is none."""

FADED = 0.9
"""S of the flow at ε over its largest one before, up to which it has fallen: 1 where it has not."""

FALLEN = 0.95
"""A further measure at the largest η over its median below η_c, up to which it is smaller."""

APART = 0.01
"""Share of the way from θ0 from which on GD is apart from the flow at equal time."""

TRUTH = (0.9, 1.1)
"""Of the best η over 2/S of the true predictor: learning rates are about 5 % apart."""

LEAST_RISE = 0.001
"""Relative rise of ‖θ‖₁ over the rates above η_c that is one: below η_c, where nothing changes,
that of GD is the flow's to a tenth of a per cent."""

SAME_WIDTHS = 1.25
"""Largest over smallest s_gf of several widths, or of several values of any other field, that
still is independence of it: another seed alone often moves s_gf by half of that."""

PROPORTIONAL = (0.85, 1.15)
"""Of the slope of log η_c fitted on log η_c predicted: proportional rates have 1."""

LEAST_EXPLAINED = 0.9
"""r² from which on that line counts as one."""

LEAST_PAIRS = 3
"""Fewer pairs of rates leave a line's interval without a degree of freedom."""

LEAST_RANGE = 1.5
"""Largest over smallest predicted η_c: over less, their scatter alone makes the slope."""

BELOW, ABOVE = 0.9, 1.1
"""In units of η_c: the flat regime ends here, and the edge begins; between them the kink is round
and GD slowest."""

FAR = 1.5
"""In units of η_c: from here on GD is chaotic and may come to ε by chance."""

TOO_SHARP = 1.3
"""Of S·η/2 over the typical one at the edge of its column, which counts as 1 where it is less: a
crossing beyond FAR and above this is by chance. Stops at the edge scatter by 15 %."""

MOST_BY_CHANCE = 0.2
"""Of the trials beyond FAR that came to ε: where more did so by chance, and are left out for their
S, the exponent of the rest has no interval."""

DEEP_ENOUGH = 0.01
"""How far, relative to the ends, the best test loss must lie below both to be a valley: less is
within what the exact step of the stop moves it."""

LEAST_FOR_LINE = 3
"""Fewer trials leave a line without a degree of freedom."""

LEAST_FOR_SPREAD = 2
"""Fewer trials have no range."""

LEAST_FOR_VALLEY = 4
"""Two ends and more than one rate between them."""

LEAST_FOR_SEEDS = 2
"""Fewer seeds have no spread."""

LEAST_FOR_RISE = 4
"""Of three ranks, even the best order has probability 1/6 by chance; of four 1/24."""

SIGNIFICANT = 0.05
"""Largest one-sided probability by chance of a rise that counts as one."""
