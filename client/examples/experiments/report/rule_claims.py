"""Claims that are computations: sections 3, 4 and 5.2, 5.3, from rule.csv."""

from tables import select
from verdicts import (Claim, DIFFERENT, NOT_REPRODUCED, REPRODUCED, of_value)


def value(rows, measurement, method, k=4, beta=0.9, scaling="conservative"):
    found = select(rows, measurement=measurement, method=method, k=k, beta=beta,
                   scaling=scaling)
    assert len(found) == 1, (measurement, method, k, beta, scaling)
    return found[0]["value"]


def decay_claims(rows):
    for beta, k, article, digits in ((0.9, 2, 0.0025, 4), (0.9, 4, 0.001, 4),
                                     (0.9, 8, 0.0003, 4),
                                     (0.99, 4, 0.00001, 7)):
        ours = value(rows, "decay_error", "full", k, beta)
        # The article gives that many digits.
        tolerance = 10.0**-len(f"{article:.5f}".rstrip("0").split(".")[1]) / 2
        yield Claim("4.1, table", f"error of B^k at beta = {beta}, k = {k}",
                    f"{article:.5f}".rstrip("0"), f"{ours:.{digits}f}",
                    of_value(article, ours, tolerance),
                    "factor by which the published step falls per cycle, "
                    "minus beta")
    by_k = {k: value(rows, "decay_error", "full", k) for k in (2, 4, 8, 16, 64)}
    growth = by_k[8] / by_k[4]
    yield Claim("eq. 34; 9", "the error of B^k is O(1/k^2): from k = 4 to 8 "
                "it changes by", "x0.25", f"x{growth:.2f}", of_value(0.25, growth, 0.025),
                f"it grows toward e^-(1-beta) - beta: {by_k[64]:.4f} at k = 64")
    relative = by_k[4] / 0.9
    yield Claim("eq. 34", "relative error of B^k at k = 4", "6 %",
                f"{100 * relative:.2f} %", of_value(0.06, relative, 0.005))


def sliding_claims(rows):
    apart = {k: value(rows, "difference", "full", k) for k in (2, 4, 8)}
    if apart[8] < apart[4] / 3:
        verdict = REPRODUCED
    else:
        verdict = DIFFERENT if apart[4] < 0.1 else NOT_REPRODUCED
    yield Claim("4.1; 9", "the slid beta stands for accumulation, with an "
                "error that vanishes as 1/k^2", "O(1/k^2)",
                ", ".join(f"{100 * part:.1f} % at k = {k}"
                          for k, part in apart.items()), verdict,
                "norm of the steps' difference under pure noise: a fair "
                "approximation, but not a better one for larger k")
    pace = value(rows, "rate", "full", scaling="sqrt")
    yield Claim("eq. 36", "sqrt(k) times the learning rate restores the pace "
                "of k = 1 (linear scaling)", "1", f"{pace:.3f}",
                of_value(1, pace, 0.02),
                "way per push under a constant gradient; that is square-root "
                "scaling, k times restores it")


def noise_claims(rows):
    ratio = value(rows, "second_moment", "accumulation", 4, 0.99)
    yield Claim("eq. 24", "C at a signal to noise ratio of 0.1 (power)",
                "0.091", f"{ratio:.3f}", of_value(1 / 11, ratio, 0.005),
                "eq. 24 is the limit of large k; C_4 = 0.318")
    averaged = value(rows, "step_variance", "accumulation")
    yield Claim("eq. 38, 39", "averaging k = 4 gradients leaves of the step's "
                "variance", "0.25", f"{averaged:.3f}",
                of_value(0.25, averaged, 0.01))
    sparse = value(rows, "step_variance", "sparse_only")
    yield Claim("5.2, mechanism 1", "updating only every 4th push leaves "
                "of the step's variance", "0.25", f"{sparse:.3f}", of_value(0.25, sparse, 0.01),
                "m still averages over 1/(1-beta) pushes: nothing is smoothed")


def pace_claims(rows):
    pace = value(rows, "rate", "sparse_only")
    yield Claim("eq. 41, 46", "updating every 4th push at the same learning "
                "rate goes at", "0.25", f"{pace:.3f}",
                of_value(0.25, pace, 0.005))
    restored = value(rows, "rate", "sparse_only", scaling="linear")
    yield Claim("eq. 45; 7.1", "updating every 4th push at 4 times the "
                "learning rate goes at", "1",
                f"{restored:.3f}", of_value(1, restored, 0.02))


def rest_claims(rows):
    sharp = value(rows, "stationary_sharp", "standard")
    flat = value(rows, "stationary_flat", "standard")
    yield Claim("eq. 43", "variance at rest goes as H^-1 S H^-1: in the sharp "
                "direction, of the flat one's", "0.01", f"{sharp / flat:.3f}",
                of_value(0.01, sharp / flat, 0.002),
                "curvatures 10 and 1: it goes as H^-1 S")
    sparse = value(rows, "stationary_flat", "sparse_only") / flat
    yield Claim("eq. 44", "updating every 4th push at the same learning rate "
                "leaves of that variance", "0.25", f"{sparse:.3f}",
                of_value(0.25, sparse, 0.02),
                "so does a quarter of the learning rate: see 5.1 at equal "
                "effective rates")


def claims(tables):
    rows = tables["rule"]
    for group in (decay_claims, sliding_claims, noise_claims, pace_claims,
                  rest_claims):
        yield from group(rows)
