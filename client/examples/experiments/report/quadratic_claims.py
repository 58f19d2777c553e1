"""Claims of section 6.1, from quadratic.csv."""

import statistics

from tables import select
from verdicts import Claim, NOT_REPRODUCED, REPRODUCED, of_value

LAST_PUSH = 200


def final(rows, method):
    return select(rows, method=method, push=LAST_PUSH)[0]


def step_variance(rows, method):
    """Mean variance of an update's step once the way down is behind."""
    return statistics.fmean(
        row["step_variance"] for row in select(rows, method=method)
        if row["push"] > LAST_PUSH / 2 and row["step_variance"] > 0)


def pushes_until(rows, method, loss):
    return min(row["push"] for row in select(rows, method=method)
               if row["loss"] < loss)


def claims(tables):
    rows = tables["quadratic"]
    smoothing = (step_variance(rows, "sparse_only") /
                 step_variance(rows, "standard"))
    yield Claim("6.1, result 1", "updating every 4th push is smoother: the "
                "variance of a step falls to", "0.25", f"{smoothing:.2f}",
                of_value(0.25, smoothing, 0.05),
                "steps are fewer, not smaller, at the same learning rate")
    sparse, standard = final(rows, "sparse_only"), final(rows, "standard")
    slower = (pushes_until(rows, "sparse_only", 1) /
              pushes_until(rows, "standard", 1))
    # Both means have errors; three of them apart is no accident.
    lower = (standard["loss"] - sparse["loss"] >
             3 * (standard["loss_error"]**2 + sparse["loss_error"]**2)**0.5)
    yield Claim("6.1, result 2", "it is slower, but ends at a lower loss",
                "slower, lower",
                f"{slower:.1f} times the pushes to loss 1; "
                f"{sparse['loss']:.4f} against {standard['loss']:.4f}",
                REPRODUCED if lower and slower > 1 else NOT_REPRODUCED,
                "both are what a quarter of the learning rate does")
    accumulation = final(rows, "accumulation")
    ratio = accumulation["loss"] / sparse["loss"]
    yield Claim("6.1, result 3", "full accumulation and sparse updates almost "
                "coincide: ratio of their losses after 200 pushes", "1",
                f"{ratio:.0f} ({accumulation['loss']:.3f} against "
                f"{sparse['loss']:.4f})", of_value(1, ratio, 0.1),
                "accumulation's momentum decays once a cycle, so that it "
                "remembers 4 times as many pushes, and oscillates")
