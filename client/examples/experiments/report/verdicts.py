"""Claims of the article and what came of them.

One rule makes every verdict. A claim says that something is `article` rather
than `none`, what it would be without the effect; we found a value with an
interval: 95 % over seeds or repetitions, or, of a computation, what its
roundings and finite samples leave open.

    reproduced       the interval holds the article's figure and, on its side,
                     leaves out that there is no effect
    different        on the article's side the interval leaves out that there
                     is no effect, but it does not hold the article's figure
    not reproduced   neither: no effect is seen, or the opposite; or something
                     changes that is to stay
    not measured     this run could not measure it; the note says why

Where the article gives a direction and no figure, any size is the article's.
Where it says that nothing changes, "reproduced" is that the interval stays
within a tolerance, which is given with the claim, and there is no "different".
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
               "figure",
    NOT_REPRODUCED: "no effect is seen, or the opposite; where the article says "
                    "that nothing changes: our interval leaves the tolerance",
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


def exactly(value, tolerance):
    """What a computation found, to that tolerance."""
    return Estimate(value, value - tolerance, value + tolerance)


def of_effect(article, found, none=0.0, rounding=0.0):
    """`rounding`: half a unit of the last digit that the article gives."""
    assert article != none
    if of_direction(1 if article > none else -1, found, none) != REPRODUCED:
        return NOT_REPRODUCED
    if found.low - rounding <= article <= found.high + rounding:
        return REPRODUCED
    return DIFFERENT


def of_direction(sign, found, none=0.0):
    """More (1) or less (-1) than none, by however much."""
    nearest = min(sign * (found.low - none), sign * (found.high - none))
    return REPRODUCED if nearest > 0 else NOT_REPRODUCED


def of_no_change(found, tolerance, none=0.0):
    """The same as none, to within the tolerance."""
    within = (none - tolerance <= found.low and
              found.high <= none + tolerance)
    return REPRODUCED if within else NOT_REPRODUCED


def of_order(changes):
    """Each of a row is below the one before: `changes` are the estimates from
    one to the next, the last of them from the first to the last."""
    *steps, whole = changes
    if all(change.high < 0 for change in steps):
        return REPRODUCED
    return DIFFERENT if whole.high < 0 else NOT_REPRODUCED


def not_measured(where, claim, article, why):
    return Claim(where, claim, article, "-", NOT_MEASURED, why)
