"""Claims of section 9: memory, which optimizers it fits, and its table of
combinations; from rule.csv, images.csv, images_loss.csv and link.csv."""

import link_claims
from formats import percent
from image_claims import SGD, SGD_K4, effect_claim
from image_runs import ImageRuns
from link_claims import time_change
from rule_claims import value
from tolerances import ALIKE
from verdicts import (Claim, exactly, not_measured, of_acceptance,
                      of_direction, of_no_change)


def memory_claim(runs):
    spent = max(run["accumulation_buffer_bytes"]
                for name in runs.settings() for run in runs.runs(name))
    return Claim("2.3; 9", "accumulation without further memory: bytes of "
                 "accumulation buffers", "0", f"{spent:.0f}",
                 of_no_change(exactly(spent), 0))


def optimizer_claims(rule):
    corrected = value(rule, "classic_difference", "corrected")
    for name in ("sgd", "adam", "adamw", "signum", "lamb"):
        apart = value(rule, "classic_difference", name)
        note = ("k = 4, signal to noise 0.1; the tolerance is "
                f"{100 * ALIKE:.0f} %")
        if name in ("adam", "adamw", "lamb"):
            note += ("; v is of single gradients (eq. 25): adamw with "
                     f"second_moment corrected: {100 * corrected:.1f} %")
        yield Claim("9", f"embedded accumulation fits {name}: its steps differ "
                    "from those on the mean gradient by", "0",
                    f"{100 * apart:.3g} %",
                    of_no_change(exactly(apart), ALIKE), note)
    refused = value(rule, "refused", "lion")
    yield Claim("9", "it fits every optimizer with momentum: lion at k = 4",
                "fits", "refused" if refused else "fits",
                of_acceptance(not refused),
                "its step looks at beta1*m + (1-beta1)*g, and g is gone once it "
                "is folded; exact with a buffer, or where the betas are equal")


def combination_claims(runs):
    base = SGD_K4 + "linear"
    for what, baseline in (("not at all", base),
                           ("every push", "sgd/clip/push_norm")):
        yield effect_claim("9, table", "clipping after accumulation is more "
                           f"stable: oscillation of the loss, against {what}",
                           "less", "%",
                           runs.oscillation_change("sgd/clip/norm", baseline),
                           "to a norm of 1 (7.2), k = 4; means of gradients are "
                           "seldom longer")
    yield effect_claim("9, table", "a schedule over updates converges faster "
                       "than one over pushes: final loss", "less", "%",
                       runs.loss_change("sgd/cosine/updates",
                                        "sgd/cosine/pushes"),
                       "half a cosine to 0 over T/4 updates, against one over "
                       "T that only updates advance")
    yield effect_claim("9, table", "a large effective batch generalises better: "
                       "test accuracy (once more that of 5.3, advice 2)",
                       "more", "points", runs.gain(base, SGD),
                       "k = 4 against k = 1, equal effective rates")


def speed_claim(rows):
    where, claim = "9, table", ("16 bits are faster: time of a job with bf16 "
                                "pushes, against fp32")
    if not link_claims.was_shaped(rows):
        return not_measured(where, claim, "less", link_claims.UNSHAPED)
    change = time_change(rows, ("accumulation", 4, 1, "bf16"),
                         ("accumulation", 4, 1, "f32"))
    return Claim(where, claim, "less", percent(change),
                 of_direction(-1, change),
                 "1 Gbit/s, local accumulation, k = 4; gradients are computed "
                 "in fp32")


def claims(tables):
    runs = ImageRuns(tables)
    yield memory_claim(runs)
    yield from optimizer_claims(tables["rule"])
    yield from combination_claims(runs)
    yield speed_claim(tables["link"])
