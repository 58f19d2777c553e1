"""Claims of the article and what came of them.

MEANINGS says what a verdict means; the functions below make every one, each of
one kind of claim:

    of_effect      a figure other than `none`, what it would be without effect
    of_range       the same of a figure from `low` to `high`
    of_direction   more or less than `none`, by however much
    of_no_change   the same as `none`, within a tolerance (tolerances.py): also
                   of a computation that is to give the article's number
    of_order       each of a row below the one before
    of_acceptance  something is accepted, not refused
    of_all         a claim that stands only if each of its parts does
    of_parts       several claims in one, each of which counts
    of_runs        any kind, of runs that can diverge
    not_measured   this run could not measure it

`found` is our value with an interval: of 95 %, over seeds or repetitions, or,
of a computation, what its roundings and finite samples leave open (`exactly`).
"""

import dataclasses

from estimates import Estimate

REPRODUCED = "reproduced"
DIFFERENT = "different"
NOT_REPRODUCED = "not reproduced"
NOT_MEASURED = "not measured"
VERDICTS = (REPRODUCED, DIFFERENT, NOT_REPRODUCED, NOT_MEASURED)

MEANINGS = {
    REPRODUCED: "our interval holds the article's figure (where it gives only a "
                "direction: any figure on that side) and leaves out that there "
                "is no effect; where it says that nothing changes: our interval "
                "is within the tolerance given",
    DIFFERENT: "there is an effect on the article's side, our interval leaves "
               "out that there is none, but it does not hold the article's "
               "figure; or, of several parts, only some are reproduced",
    NOT_REPRODUCED: "no effect is seen, or the opposite, or the seeds do not "
                    "suffice to tell; where the article says that nothing "
                    "changes: our interval leaves the tolerance",
    NOT_MEASURED: "this run could not measure it; the note says why",
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """One line of the comparison; `where` is the article's section or
    equation."""
    where: str
    claim: str
    article: str
    ours: str
    verdict: str
    note: str = ""

    def __post_init__(self):
        assert self.verdict in VERDICTS, self.verdict
        assert self.ours, self.claim


def exactly(value, tolerance=0.0):
    """What a computation found, to that tolerance."""
    return Estimate(value, value - tolerance, value + tolerance)


def of_effect(article, found, none=0.0, rounding=0.0):
    """`rounding`: what the article's digits leave open of its figure."""
    assert article != none
    if of_direction(1 if article > none else -1, found, none) != REPRODUCED:
        return NOT_REPRODUCED
    if found.low - rounding <= article <= found.high + rounding:
        return REPRODUCED
    return DIFFERENT


def of_range(low, high, found):
    """Of what the article has from low to high, the nearest to ours."""
    return of_effect(min(max(found.value, low), high), found)


def of_direction(sign, found, none=0.0):
    """More (1) or less (-1) than none, by however much."""
    nearest = min(sign * (found.low - none), sign * (found.high - none))
    return REPRODUCED if nearest > 0 else NOT_REPRODUCED


def of_no_change(found, tolerance, none=0.0):
    """The same as none, to within the tolerance."""
    within = (none - tolerance <= found.low and
              found.high <= none + tolerance)
    return REPRODUCED if within else NOT_REPRODUCED


def pairs_of_order(row):
    """What of_order compares: each with the next, then the ends."""
    return [*zip(row, row[1:]), (row[0], row[-1])]


def of_order(changes):
    """Each of a row is below the one before; different if only the last is
    below the first. `changes`: the estimates for pairs_of_order."""
    *steps, whole = [of_direction(-1, change) for change in changes]
    if of_all(*steps) == REPRODUCED:
        return REPRODUCED
    return DIFFERENT if whole == REPRODUCED else NOT_REPRODUCED


def of_acceptance(accepted):
    return REPRODUCED if accepted else NOT_REPRODUCED


def of_all(*parts):
    """The worst of the parts' verdicts."""
    return max(parts, key=VERDICTS.index)


def of_parts(*parts):
    """Different if only some of the parts are reproduced."""
    some = [part for part in parts if part == REPRODUCED]
    if not some:
        return NOT_REPRODUCED
    return REPRODUCED if len(some) == len(parts) else DIFFERENT


def of_runs(judge, found, ours_diverged, baseline_diverged):
    """`judge` makes of an estimate its verdict; `found` is of the runs that did
    not diverge, None where all did. A run that leaves the numbers is worse than
    any that does not, by no figure."""
    if ours_diverged or not (found or baseline_diverged):
        return NOT_REPRODUCED
    return judge(found) if found else DIFFERENT


def not_measured(where, claim, article, why):
    return Claim(where, claim, article, "-", NOT_MEASURED, why)
