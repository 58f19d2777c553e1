"""Claims of section 6.1, from quadratic.csv."""

import statistics

from estimates import Estimate
from formats import plain
from tables import select
from tolerances import ALIKE, SMOOTHING
from verdicts import (Claim, exactly, of_direction, of_effect, of_no_change,
                      of_parts)

LAST_PUSH = 200
K = 4
BETA = 0.9
SLID = 1 - (1 - BETA) / K
# method: (update every, decay at a cycle's first push, at others, gain)
METHODS = {"standard": (1, BETA, BETA, 1 - BETA),
           "beta_only": (1, SLID, SLID, 1 - SLID),
           "sparse_only": (K, BETA, BETA, 1 - BETA),
           "accumulation": (K, BETA, 1, (1 - BETA) / K),
           "full": (K, SLID, SLID, 1 - SLID)}


def expected_loss(method, noise=0.5):
    """After 200 pushes, exactly: the means and the covariance of theta and m go
    by a recursion that needs no random numbers."""
    update_every, first_keep, keep, gain = METHODS[method]
    rate, loss = 0.1, 0.0
    for curvature in (10.0, 1.0):
        theta, m = 5.0, 0.0
        theta_theta = theta_m = m_m = 0.0
        pull = gain * curvature
        for push in range(LAST_PUSH):
            decay = keep if push % update_every else first_keep
            m_m = (decay**2 * m_m + 2 * decay * pull * theta_m +
                   pull**2 * theta_theta + (gain * noise)**2)
            theta_m = decay * theta_m + pull * theta_theta
            m = decay * m + pull * theta
            if (push + 1) % update_every == 0:
                theta_theta += rate**2 * m_m - 2 * rate * theta_m
                theta_m -= rate * m_m
                theta -= rate * m
        loss += curvature / 2 * (theta**2 + theta_theta)
    return loss


def final(rows, method):
    return select(rows, method=method, push=LAST_PUSH)[0]


def final_estimate(rows, method):
    """The mean over seeds; of 400 Student's t is the normal's."""
    row = final(rows, method)
    reach = 1.966 * row["loss_error"]
    return Estimate(row["loss"], row["loss"] - reach, row["loss"] + reach)


def final_losses(rows):
    """(method, mean over seeds, what it is expected to be)"""
    return [(method, final_estimate(rows, method), expected_loss(method))
            for method in METHODS]


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
                of_effect(0.25, exactly(smoothing, SMOOTHING), none=1),
                "steps are fewer, not smaller, at the same learning rate")
    sparse, standard = (final_estimate(rows, method)
                        for method in ("sparse_only", "standard"))
    slower = (pushes_until(rows, "sparse_only", 1) /
              pushes_until(rows, "standard", 1))
    # The extremes of both intervals, here and below.
    lower = Estimate(sparse.value - standard.value, sparse.low - standard.high,
                     sparse.high - standard.low)
    yield Claim("6.1, result 2", "it is slower, but ends at a lower loss",
                "slower, lower",
                f"{slower:.1f} times the pushes to loss 1; "
                f"{plain(sparse, 4)} against {plain(standard, 4)}",
                of_parts(of_direction(1, exactly(slower), none=1),
                         of_direction(-1, lower)),
                "both are what a quarter of the learning rate does")
    accumulation = final_estimate(rows, "accumulation")
    ratio = Estimate(accumulation.value / sparse.value,
                     accumulation.low / sparse.high,
                     accumulation.high / sparse.low)
    yield Claim("6.1, result 3", "full accumulation and sparse updates almost "
                "coincide: ratio of their losses after 200 pushes", "1",
                f"{plain(ratio, 0)}: {plain(accumulation, 3)} against "
                f"{plain(sparse, 4)}",
                of_no_change(ratio, ALIKE, none=1),
                "accumulation's momentum decays once a cycle, so that it "
                "remembers 4 times as many pushes, and oscillates; the "
                f"tolerance is {ALIKE}")
