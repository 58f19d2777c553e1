"""Claims of 3.2, 5.2 and 5.3 that need no training but for eq. 42: what noise
averages to, and how far updates go; from rule.csv and batch.csv."""

import math

from estimates import estimate
from formats import share
from rule_claims import value
from tables import select
from tolerances import (AVERAGED_VARIANCE, FLAT_REST, NOISY_PACE, PACE,
                        SAME_PACE, SAME_PARAMETERS, SECOND_MOMENT, SHARP_REST,
                        WHOLE_VARIANCE, half_unit)
from verdicts import Claim, exactly, of_direction, of_effect, of_no_change


def variance_claims(rows):
    ratio = value(rows, "second_moment", "accumulation", 4, 0.99)
    yield Claim("eq. 24", "C at a signal to noise ratio of 0.1 (power)",
                "0.091", f"{ratio:.3f}",
                of_effect(1 / 11, exactly(ratio, SECOND_MOMENT), none=1),
                "eq. 24 is the limit of large k; C_4 = 0.318")
    averaged = value(rows, "step_variance", "accumulation")
    yield Claim("eq. 38, 39", "averaging k = 4 gradients leaves of the step's "
                "variance", "0.25", f"{averaged:.3f}",
                of_effect(0.25, exactly(averaged, AVERAGED_VARIANCE), none=1))
    deviation = math.sqrt(averaged)
    yield Claim("eq. 39", "by 1/k and not 1/sqrt(k), as statistics has it, for "
                "there are fewer updates too: averaging leaves of the "
                "step's deviation", "0.25", f"{deviation:.3f}",
                of_effect(0.25, exactly(deviation, AVERAGED_VARIANCE),
                          none=0.5),
                "a variance of 1/k is a deviation of 1/sqrt(k); no effect: 0.5")
    sparse = value(rows, "step_variance", "sparse_only")
    yield Claim("5.2, mechanism 1", "updating only every 4th push leaves "
                "of the step's variance", "0.25", f"{sparse:.3f}",
                of_effect(0.25, exactly(sparse, WHOLE_VARIANCE), none=1),
                "m still averages over 1/(1-beta) pushes: nothing is smoothed")


def pace_claims(rows):
    moved = value(rows, "moved", "sparse_only")
    yield Claim("eq. 40", "between updates the parameters stand still: pushes "
                "after which any was another", "0", f"{100 * moved:.0f} %",
                of_no_change(exactly(moved), 0))
    pace = value(rows, "rate", "sparse_only")
    yield Claim("eq. 41, 46", "updating every 4th push at the same learning "
                "rate goes at", "0.25", f"{pace:.3f}",
                of_effect(0.25, exactly(pace, PACE), none=1))
    yield Claim("5.3", "the same learning rate at every 4th push: the two "
                "cancel, so that the pace per push is that of k = 1", "1",
                f"{pace:.3f}",
                of_no_change(exactly(pace, PACE), SAME_PACE, none=1),
                "a quarter remains, as eq. 46 itself has it")
    restored = value(rows, "rate", "sparse_only", scaling="linear")
    yield Claim("eq. 45; 5.3, advice 2", "updating every 4th push at 4 times "
                "the learning rate goes at", "1", f"{restored:.3f}",
                of_no_change(exactly(restored, PACE), SAME_PACE, none=1),
                f"tolerance {SAME_PACE}")
    noisy = value(rows, "rate_in_noise", "sparse_only")
    yield Claim("5.2, mechanism 2", "sparse updating adapts the learning rate: "
                "in noise of 3 times the gradient it is, of that without noise",
                "less", f"{noisy / pace:.3f}",
                of_direction(-1, exactly(noisy / pace, NOISY_PACE), none=1),
                "whether an update comes is counted, not looked at")


def rest_claims(rows):
    sharp = value(rows, "stationary_sharp", "standard")
    flat = value(rows, "stationary_flat", "standard")
    yield Claim("eq. 43", "variance at rest goes as H^-1 S H^-1: in the sharp "
                "direction, of the flat one's", "0.01", f"{sharp / flat:.3f}",
                of_effect(0.01, exactly(sharp / flat, SHARP_REST), none=1,
                          rounding=half_unit(2)),
                "curvatures 10 and 1: it goes as H^-1 S")
    sparse = value(rows, "stationary_flat", "sparse_only") / flat
    yield Claim("eq. 44", "updating every 4th push at the same learning rate "
                "leaves of that variance", "0.25", f"{sparse:.3f}",
                of_effect(0.25, exactly(sparse, FLAT_REST), none=1),
                "so does a quarter of the learning rate: see 5.1 at equal "
                "effective rates")


def batch_claims(rows):
    for what, method in (("averaged into one update", "accumulation"),
                         ("of which every 4th updates", "sparse_only")):
        apart = estimate(row["difference"]
                         for row in select(rows, method=method))
        digits = 1 if apart.value > 0.01 else 5
        yield Claim("eq. 42", f"4 pushes of 16 images, {what}, are one of 64: "
                    "parameters after 100 updates differ by", "0",
                    share(apart, digits, " of the way"),
                    of_no_change(apart, SAME_PARAMETERS),
                    "the same images from the same start, 3 seeds; the "
                    f"tolerance is {100 * SAME_PARAMETERS:.0f} %")


def claims(tables):
    rows = tables["rule"]
    for group in (variance_claims, pace_claims, rest_claims):
        yield from group(rows)
    yield from batch_claims(tables["batch"])
