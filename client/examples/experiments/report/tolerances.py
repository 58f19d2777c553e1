"""Tolerances: what is left open of a computation, what the article's digits
leave open of its figure, and what counts as no change. All were set before the
runs that they judge.

What is known to so much is so by one deviation, at the sizes of --quick: a
variance, of n independent normal numbers, to sqrt(2/n) of it; a ratio of two to
sqrt(2) times that; one of two norms to half of that.
"""


def half_unit(digits):
    """Of the article's last digit, where it gives so many after the point."""
    return 10.0**-digits / 2


# What is left open of a computation.

# Roundings of 1024 published parameters, averaged, over 8 cycles.
DECAY = 1e-6
# Of two errors of 0.004, each known to DECAY: 3e-4 of each.
DECAY_GROWTH = 0.001
# Gradients are constant and the momentum has filled: roundings, far below half
# a unit of the last digit of 0.25.
PACE = 0.005
# The noise, 3 times the gradient, over 10,000 elements and 160 pushes: 0.0024
# of the pace without noise.
NOISY_PACE = 0.02
# 10,000 elements over 30 updates whose squares are correlated by 0.81 from one
# to the next count as 10,000 * 3: a ratio is known to 1.2 %. Of 0.25 that is
# 0.003, of its root too, of 1 0.012.
AVERAGED_VARIANCE = 0.01
WHOLE_VARIANCE = 0.02
# Two ratios of such steps' norms, one over the other: 0.8 % of 1.
STEP_DIFFERENCE = 0.02
# C_4 = 0.318, from norms over 2,000 elements and 100 updates, to 0.5 %, biased
# by up to 2 % for the memory of beta2 = 0.99: 0.008.
SECOND_MOMENT = 0.01
# 400 seeds at 35 moments, of which the momentum leaves 15 or more independent:
# a ratio is known to 2.6 %. Of 0.1 that is 0.003, of 0.25 0.007.
SHARP_REST = 0.01
FLAT_REST = 0.02
# Two coordinates of 400 seeds over 100 pushes, of which the momentum leaves 10
# independent: a ratio near 1 to 2.2 %. The widest of them, as the page has it.
SMOOTHING = 0.05

# What the article's digits leave open.

# O(1/k^2) is of large k: a tenth of the factor of 0.25 from k = 4 to 8.
ORDER = 0.025

# What counts as no change: chosen, for the article gives none.

# Of a pace of 1; what it is told from is 0.25.
SAME_PACE = 0.02
# Of 1: what the article calls alike, almost the same, or fitting.
ALIKE = 0.1
# Of the way from the start; one batch of 64 is to be the same update.
SAME_PARAMETERS = 0.01
# In points.
SAME_ACCURACY = 0.5
# Of a whole k: what rounds to it.
SAME_K = 0.5
