"""Claims of section 4 about the slid beta, from rule.csv."""

from estimates import paired_change
from formats import percent
from tables import select
from tolerances import (ALIKE, DECAY, DECAY_GROWTH, ORDER, PACE,
                        STEP_DIFFERENCE, half_unit)
from verdicts import (Claim, exactly, of_all, of_direction, of_effect,
                      of_no_change)


def values(rows, measurement, method, k=4, beta=0.9, scaling="conservative"):
    found = [row["value"] for row in
             select(rows, measurement=measurement, method=method, k=k,
                    beta=beta, scaling=scaling)]
    assert found, (measurement, method, k, beta, scaling)
    return found


def value(rows, measurement, method, k=4, beta=0.9, scaling="conservative"):
    found = values(rows, measurement, method, k, beta, scaling)
    assert len(found) == 1, (measurement, method, k, beta, scaling)
    return found[0]


def table_claims(rows):
    for beta, k, article, digits in ((0.9, 2, 0.0025, 4), (0.9, 4, 0.001, 4),
                                     (0.9, 8, 0.0003, 4),
                                     (0.99, 4, 0.00001, 7)):
        ours = value(rows, "decay_error", "full", k, beta)
        # The article gives that many digits.
        figure = f"{article:.5f}".rstrip("0")
        rounding = half_unit(len(figure.split(".")[1]))
        yield Claim("4.2, table", f"error of B^k at beta = {beta}, k = {k}",
                    figure, f"{ours:.{digits}f}",
                    of_effect(article, exactly(ours, DECAY),
                              rounding=rounding),
                    "factor by which the published step falls per cycle, "
                    "minus beta")
    slid = [(value(rows, "decay_error", "full", k, beta) + beta)**(1 / k)
            for beta, k in ((0.9, 2), (0.9, 4), (0.9, 8), (0.99, 4))]
    article = (0.95, 0.975, 0.9875, 0.9975)
    yield Claim("eq. 33; 4.2, table", "B at beta = 0.9, k = 2, 4, 8; and at "
                "0.99, 4", ", ".join(map(str, article)),
                ", ".join(f"{b:.4f}" for b in slid),
                of_all(*(of_no_change(exactly(ours), DECAY, none=figure)
                         for ours, figure in zip(slid, article))),
                "k-th root of the fall per cycle")


def decay_claims(rows):
    by_k = {k: value(rows, "decay_error", "full", k) for k in (2, 4, 8, 16, 64)}
    growth = by_k[8] / by_k[4]
    yield Claim("eq. 34; 9", "the error of B^k is O(1/k^2): from k = 4 to 8 "
                "it changes by", "x0.25", f"x{growth:.2f}",
                of_effect(0.25, exactly(growth, DECAY_GROWTH), none=1,
                          rounding=ORDER),
                f"it grows toward e^-(1-beta) - beta: {by_k[64]:.4f} at k = 64")
    relative = by_k[4] / 0.9
    yield Claim("eq. 34", "relative error of B^k at k = 4", "6 %",
                f"{100 * relative:.2f} %",
                of_effect(0.06, exactly(relative, DECAY),
                          rounding=half_unit(2)))
    slid = [(error + 0.9)**(1 / k) for k, error in by_k.items()]
    yield Claim("eq. 35", "B grows with k, toward 1: at k = 2 to 64", "grows",
                ", ".join(f"{b:.4f}" for b in slid),
                of_all(*(of_direction(1, exactly(after), none=before)
                         for before, after in zip(slid, slid[1:])),
                       of_direction(-1, exactly(slid[-1]), none=1)))


def sliding_claims(rows):
    lightest = value(rows, "weight", "full")
    yield Claim("eq. 30, 31", "with the slid beta a cycle's gradients weigh "
                "alike: the lightest, of the heaviest, at k = 4", "1",
                f"{lightest:.4f}",
                of_no_change(exactly(lightest, DECAY), ALIKE, none=1),
                f"B^3; the tolerance is {ALIKE}. With per_cycle it is "
                f"{value(rows, 'weight', 'accumulation'):.4f}")
    apart = {k: value(rows, "difference", "full", k) for k in (2, 4, 8)}
    falls = apart[8] / apart[4]
    yield Claim("4.1; 9", "the slid beta stands for accumulation, with an "
                "error of O(1/k^2): from k = 4 to 8 the difference of the steps "
                "changes by", "x0.25",
                f"x{falls:.2f} (" + ", ".join(
                    f"{100 * part:.1f} % at k = {k}"
                    for k, part in apart.items()) + ")",
                of_effect(0.25, exactly(falls, STEP_DIFFERENCE), none=1,
                          rounding=ORDER),
                "norm of the steps' difference under pure noise: a fair "
                "approximation, but not a better one for larger k")
    pace = value(rows, "rate", "full", scaling="sqrt")
    yield Claim("eq. 36", "sqrt(k) times the learning rate restores the pace "
                "of k = 1 (linear scaling)", "1", f"{pace:.3f}",
                of_effect(1, exactly(pace, PACE), none=0.25),
                "way per push under a constant gradient, 0.25 unscaled; that "
                "is square-root scaling, k times restores it")


def simplicity_claim(rows):
    seconds = {method: dict(enumerate(values(rows, "push_seconds", method)))
               for method in ("accumulation", "full")}
    change = paired_change(seconds["full"], seconds["accumulation"])
    return Claim("4.1; 9", "chi costs time: a push of 1,048,576 elements "
                 "without it takes", "less",
                 percent(change), of_direction(-1, change),
                 "sliding against per_cycle, turn and turn about; chi is two "
                 "scalars a push, no branch of an element. The full scheme asks "
                 "chi once more for its updates; neither has a buffer")


def claims(tables):
    rows = tables["rule"]
    for group in (table_claims, decay_claims, sliding_claims):
        yield from group(rows)
    yield simplicity_claim(rows)
