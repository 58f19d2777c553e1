"""Claims of the article and what came of them.

A verdict is one of
    reproduced       our number is the article's, within what either can tell
    different        the same direction, another size
    not reproduced   no such effect, or the opposite
    not measured     this run could not measure it; the note says why
"""

import dataclasses

REPRODUCED = "reproduced"
DIFFERENT = "different"
NOT_REPRODUCED = "not reproduced"
NOT_MEASURED = "not measured"
VERDICTS = (REPRODUCED, DIFFERENT, NOT_REPRODUCED, NOT_MEASURED)


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


def of_value(article, ours, tolerance):
    """Two numbers: the same within the tolerance, or at least within half as
    much again."""
    if abs(ours - article) <= tolerance:
        return REPRODUCED
    same_sign = article * ours > 0
    if same_sign and 2 / 3 <= ours / article <= 3 / 2:
        return DIFFERENT
    return NOT_REPRODUCED


def of_effect(article, effect):
    """An effect with its interval: there at all only if the interval leaves 0
    out on the article's side; of the article's size if it holds that."""
    sign = 1 if article > 0 else -1
    ends = sorted((sign * effect.low, sign * effect.high))
    if ends[0] <= 0:
        return NOT_REPRODUCED
    if ends[0] <= sign * article <= ends[1]:
        return REPRODUCED
    return DIFFERENT


def not_measured(where, claim, article, why):
    return Claim(where, claim, article, "-", NOT_MEASURED, why)
