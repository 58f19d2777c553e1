"""Claims of 5.1, 5.3, 6.2, 6.3 and 9 about training, from images.csv and
images_loss.csv."""

import math
import statistics

from estimates import estimate, ratio_of_means
from formats import percent, points, share
from image_runs import ImageRuns
from tolerances import SAME_ACCURACY, half_unit
from verdicts import (Claim, of_all, of_direction, of_effect, of_no_change,
                      of_order, of_range, pairs_of_order)

ADAM = "adamw/"
STANDARD = ADAM + "standard/x1"
SPARSE = ADAM + "sparse_only/k4/conservative"
SPARSE_AT_EQUAL_RATE = ADAM + "sparse_only/k4/linear"
BETA = ADAM + "beta_only/k4/conservative"
FULL = ADAM + "full/k4/conservative"
ROWS = (STANDARD, BETA, SPARSE, FULL)  # of 5.1 and 6.3

SGD = "sgd/standard/x1"
SGD_K4 = "sgd/accumulation/k4/"
SGD_K8 = "sgd/accumulation/k8/"


def mean(numbers):
    """Not a number of none: of runs that all diverged."""
    numbers = list(numbers)
    return statistics.fmean(numbers) if numbers else math.nan


def effect_claim(where, claim, article, unit, compared, note=""):
    """`article`: a figure in that unit, "points" or "%"; or "more", "less"."""
    form = points if unit == "points" else percent
    if isinstance(article, str):
        sign = 1 if article == "more" else -1
        verdict = compared.verdict(lambda found: of_direction(sign, found))
        return Claim(where, claim, article, compared.text(form), verdict, note)
    whole = 1 if unit == "points" else 100
    verdict = compared.verdict(
        lambda found: of_effect(article / whole, found,
                                rounding=half_unit(1) / whole))
    return Claim(where, claim, f"{article:+} {unit}", compared.text(form),
                 verdict, note)


def share_claim(runs):
    where, claim = "5.1", ("share of the full scheme's gain that sparse "
                           "updating has alone (the rest, 23 %, is beta's)")
    note = ("the article's own figures give 0.9/1.1 = 82 %, and its two gains "
            "add up to more than their sum")
    standard = runs.accuracy(STANDARD)
    gains = [{seed: accuracy - standard[seed]
              for seed, accuracy in runs.accuracy(name).items()}
             for name in (SPARSE, FULL)]
    whole = estimate(gains[1].values())
    part = ratio_of_means(*gains)
    ours = (share(part, 0) if whole.low > 0 else
            f"no gain to share: the full scheme's is {points(whole)}")
    return Claim(where, claim, "77 %", ours,
                 of_all(of_direction(1, whole),
                        of_effect(0.77, part, rounding=half_unit(2))), note)


def gain_claims(runs):
    for what, article, ours in (
            ("sparse updating alone (k = 4) improves accuracy by", 0.9, SPARSE),
            ("the slid beta alone improves accuracy by", 0.4, BETA),
            ("both together improve accuracy by", 1.1, FULL)):
        yield effect_claim("5.1", what, article, "points",
                           runs.gain(ours, STANDARD),
                           "adamw, same learning rate")
    yield effect_claim("5.1; 9", "sparse updating helps by itself: at an equal "
                       "effective rate", 0.9, "points",
                       runs.gain(SPARSE_AT_EQUAL_RATE, STANDARD),
                       "adamw; learning rate times k")
    yield share_claim(runs)


def advice_claims(runs):
    slow = runs.gain("sgd/sparse_only/k4/conservative", "sgd/standard/x0.25")
    yield Claim("5.3, advice 1", "at the same learning rate sparse updating is "
                "training at a quarter of it: accuracy against that",
                "+0 points", slow.text(points),
                slow.verdict(lambda found: of_no_change(found,
                                                        SAME_ACCURACY)),
                f"sgd; tolerance {SAME_ACCURACY} points, which the interval "
                "over seeds may leave by its width alone")
    yield effect_claim("5.3, advice 2", "k times the learning rate has the "
                       "speed of k = 1 and the advantage of large batches: "
                       "accuracy", "more", "points",
                       runs.gain(SGD_K4 + "linear", SGD),
                       "sgd, accumulation, k = 4")


def loss_claims(runs):
    coded = SGD_K4 + "conservative"
    equal = SGD_K4 + "linear"
    yield effect_claim("6.2", "k = 4 lowers the final loss, as coded", -7.7,
                       "%", runs.loss_change(coded, "sgd/undamped"),
                       "as coded the baseline steps 40 times as far per push: "
                       "its dampening is 0, the other's beta")
    yield effect_claim("6.2", "k = 4 lowers the final loss, at equal effective "
                       "rates", -7.7, "%", runs.loss_change(equal, SGD))
    yield effect_claim("6.2", "k = 8 lowers it too, at equal effective rates",
                       -3.8, "%", runs.loss_change(SGD_K8 + "linear", SGD))
    yield effect_claim("6.2", "k = 8 ends worse than k = 4, as coded", 4.2, "%",
                       runs.loss_change(SGD_K8 + "conservative", coded),
                       "as coded k = 8 goes half as far as k = 4")
    yield effect_claim("6.2", "k = 8 ends worse than k = 4, at equal effective "
                       "rates", 4.2, "%",
                       runs.loss_change(SGD_K8 + "linear", equal))


def optimum_claim(runs):
    to_4 = runs.loss_change(SGD_K4 + "linear", SGD)
    to_8 = runs.loss_change(SGD_K8 + "linear", SGD_K4 + "linear")
    losses = [mean(runs.final_loss(name).values())
              for name in (SGD, SGD_K4 + "linear", SGD_K8 + "linear")]
    return Claim("6.2", "there is a best k, between 1 and 8: final loss at k = "
                 "1, 4, 8, equal effective rates", "0.52, 0.48, 0.50",
                 ", ".join(f"{loss:.3f}" for loss in losses),
                 of_all(of_direction(-1, to_4.estimate),
                        of_direction(1, to_8.estimate)),
                 "reproduced if both changes are certain: " +
                 to_4.text(percent) + ", then " + to_8.text(percent))


def oscillation_claims(runs):
    for what, scaling in (("at the same learning rate", "conservative"),
                          ("at equal effective rates", "linear")):
        yield effect_claim("6.2; 9", f"the loss curve oscillates less, {what}",
                           -40, "%",
                           runs.oscillation_change(SGD_K4 + scaling, SGD),
                           "changes between means over 100 pushes, second half")


def bert_claims(runs):
    for what, name, loss, accuracy in (
            ("beta only", BETA, -1.6, 0.2), ("sparse only", SPARSE, -3.3, 0.6),
            ("the full scheme", FULL, -4.4, 0.8)):
        yield effect_claim("6.3, table", f"{what} changes the loss by", loss,
                           "%", runs.loss_change(name, STANDARD),
                           "adamw, same learning rate; training loss on "
                           "images, theirs of masked words")
        yield effect_claim("6.3, table", f"{what} improves the accuracy by",
                           accuracy, "points", runs.gain(name, STANDARD),
                           "test accuracy on images, theirs of next sentences")
    losses = [runs.loss_change(b, a) for a, b in pairs_of_order(ROWS)]
    gains = [runs.gain(b, a) for a, b in pairs_of_order(ROWS)]
    means = [mean(runs.final_loss(row).values()) for row in ROWS]
    accuracies = [mean(runs.accuracy(row).values()) for row in ROWS]
    yield Claim("6.3, table", "loss of baseline, beta only, sparse only, full "
                "falls in this order", "1.82, 1.79, 1.76, 1.74",
                ", ".join(f"{mean:.3f}" for mean in means) + "; last against "
                "first " + losses[-1].text(percent),
                of_order([change.estimate for change in losses]),
                "adamw, same learning rate, training loss on images")
    yield Claim("6.3, table", "accuracy (NSP; here of the test set) of baseline, "
                "beta only, sparse only, full rises in this order",
                "98.1, 98.3, 98.7, 98.9 %",
                ", ".join(f"{mean:.2f}" for mean in accuracies) + " %; last "
                "against first " + gains[-1].text(points),
                of_order([gain.estimate.scaled(-1) for gain in gains]),
                "adamw, same learning rate")


def small_batch_claim(runs):
    best = runs.best([ADAM + "standard", "sgd/standard"])
    accumulating = runs.best([ADAM + "sparse_only", ADAM + "full",
                              "sgd/sparse_only", "sgd/full",
                              "sgd/accumulation"])
    gain = runs.gain(accumulating, best)
    return Claim("9", "with small batches updating less often gains 1 to 2 "
                 "points", "+1 to +2 points", gain.text(points),
                 gain.verdict(lambda found: of_range(1, 2, found)),
                 "batches of 16; the best of each on 5,000 held out: "
                 f"{accumulating} against {best}")


def claims(tables):
    runs = ImageRuns(tables)
    for group in (gain_claims, advice_claims, loss_claims, oscillation_claims,
                  bert_claims):
        yield from group(runs)
    yield optimum_claim(runs)
    yield small_batch_claim(runs)
