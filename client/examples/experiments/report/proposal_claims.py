"""Claims of 3.2 about noise and of 8.3, directions 1 to 3: adaptive k, k by
layer, sixteen bits; from images_noise.csv, images.csv and rule.csv."""

import math
import statistics

from estimates import estimate, paired_ratio
from formats import plain, share, times
from image_claims import SGD, SGD_K4, SGD_K8, effect_claim
from image_runs import ImageRuns
from rule_claims import value
from tolerances import SAME_K
from verdicts import (Claim, exactly, of_all, of_direction, of_no_change,
                      of_range)

DEEP = "sgd/deep/"
EARLY = 0.1  # of the pushes: so many first ones
LATE = 0.75  # and those from here on


def part_of(rows, part):
    """The rows of the beginning or of the end of training."""
    last = max(row["push"] for row in rows)
    if part == "early":
        return [row for row in rows if row["push"] <= EARLY * last]
    return [row for row in rows if row["push"] > LATE * last]


def powers(rows):
    """(sigma^2, mu^2), averaged: mu^2 of one look may be below what can be
    seen."""
    return (statistics.fmean(row["variance"] for row in rows),
            statistics.fmean(row["mean_squared"] for row in rows))


def variation(rows):
    noise, signal = powers(rows)
    return math.sqrt(noise / max(signal, 1e-6 * noise))


def signal_part(rows):
    """C for large k [eq. 24]."""
    noise, signal = powers(rows)
    return signal / (signal + noise)


def eq_53(rows, k_0=4):
    """k as the article's formula has it: sigma over the norm of m."""
    noise, signal = powers(rows)
    left = statistics.fmean(row["noise_left"] * row["variance"] for row in rows)
    return math.ceil(k_0 * (1 + math.sqrt(noise / (signal + left))))


def by_seed(rows, of):
    seeds = sorted({row["seed"] for row in rows})
    return {seed: of([row for row in rows if row["seed"] == seed])
            for seed in seeds}


def noise_claims(runs):
    rows = runs.noise(SGD_K4 + "linear")
    early, late = part_of(rows, "early"), part_of(rows, "late")
    for when, part, low, high in (("early", early, 0.3, 0.5),
                                  ("late", late, 0.8, 0.95)):
        found = estimate(by_seed(part, signal_part).values())
        yield Claim("3.2", f"typical C of deep networks, {when} in training",
                    f"{low} to {high}", plain(found, 3),
                    of_range(low, high, found),
                    "signal's part of a gradient's power, batches of 16")
    change = paired_ratio(by_seed(late, variation), by_seed(early, variation))
    yield Claim("8.3, direction 1; 3.2", "noise falls as training goes on: "
                "sigma/mu in the last quarter, of that in the first tenth",
                "less", times(change), of_direction(-1, change, none=1),
                "sgd, k = 4, equal effective rate")
    formula = estimate(by_seed(late, eq_53).values())
    yield Claim("eq. 53", "its k comes down to k_0 = 4 as noise falls: in the "
                "last quarter", "4", plain(formula, 1),
                of_no_change(formula, SAME_K, none=4),
                "the formula at what was measured; it is above k_0 as long as "
                f"there is any noise. The tolerance is {SAME_K}")


def adaptive_claims(runs, rule):
    planted = [round(value(rule, "adaptive_k", name))
               for name in ("little", "much", "little_again")]
    little, much, again = map(exactly, planted)
    yield Claim("8.3, direction 1", "k follows the noise, up and down: sigma/mu "
                "of 2, 12 and 2 again", "up, down",
                ", ".join(map(str, planted)),
                of_all(of_direction(1, much, none=little.value),
                       of_no_change(again, 0, none=little.value)),
                "adaptive_k, not eq. 53")
    seen = runs.noise("sgd/adaptive")
    last = {seed: rows[-1]["k"] for seed, rows in by_seed(seen, list).items()}
    note = ("adaptive_k at k times the learning rate; it ended at k = " +
            ", ".join(f"{k:.0f}" for k in last.values()))
    yield effect_claim("8.3, direction 1", "adaptive k beats a fixed one: "
                       "accuracy against k = 4", "more", "points",
                       runs.gain("sgd/adaptive", SGD_K4 + "linear"), note)
    fixed = (SGD, SGD_K4 + "linear", SGD_K8 + "linear")
    best = runs.best(fixed)
    yield effect_claim("8.3, direction 1", "adaptive k beats a fixed one: "
                       "accuracy against the best of k = 1, 4, 8", "more",
                       "points", runs.gain("sgd/adaptive", best),
                       f"equal samples and rates; best on 5,000 held out: "
                       f"{best}")


def layer_claims(runs):
    rows = runs.noise(DEEP + "k4")
    of_layer = [[row for row in rows if row["group"] == f"layer{layer}"]
                for layer in (1, 2, 3, 4)]
    first, last = of_layer[0], of_layer[-1]
    for what, of, form in (
            ("sigma^2", lambda part: powers(part)[0], "variance"),
            ("sigma/mu", variation, "what k is to follow")):
        ratio = paired_ratio(by_seed(first, of), by_seed(last, of))
        yield Claim("8.3, direction 2", "shallow layers' gradients are noisier: "
                    f"{what} of the first of 4 layers, of the last's", "more",
                    times(ratio), of_direction(1, ratio, none=1),
                    f"{form}, over the whole of training; sigma/mu of layers 1 "
                    "to 4: " + ", ".join(f"{variation(part):.1f}"
                                         for part in of_layer))
    k_by_layer = {row["group"]: row["k"] for row in runs.noise(DEEP + "own_k")}
    used = ", ".join(f"{group}: {k:.0f}" for group, k in k_by_layer.items())
    for k in (2, 4):
        yield effect_claim("eq. 54", "k by layer beats one k: accuracy against "
                           f"k = {k}", "more", "points",
                           runs.gain(DEEP + "own_k", f"{DEEP}k{k}"),
                           f"4 layers, per_layer_k from k_min = 2 ({used}), "
                           "equal samples and rates")


def sixteen_bit_claims(runs):
    lost = estimate(runs.of_runs("sgd/f16", "underflow").values())
    yield Claim("8.3, direction 3", "gradients underflow in FP16: of the "
                "elements other than 0 those that are 0 in it", "more",
                share(lost, 2), of_direction(1, lost),
                "without loss scaling")
    spent = max(runs.of_runs("sgd/f16", "accumulation_buffer_bytes").values())
    yield effect_claim("8.3, direction 3; 9, table", "FP16 gradients need an "
                       "FP32 cache while they accumulate: accuracy without "
                       "one, against FP32", "less", "points",
                       runs.gain("sgd/f16", SGD_K4 + "linear"),
                       "pushes in fp16, widened and folded into fp32 moments; "
                       f"bytes of a cache: {spent:.0f}")


def claims(tables):
    runs = ImageRuns(tables)
    yield from noise_claims(runs)
    yield from adaptive_claims(runs, tables["rule"])
    yield from layer_claims(runs)
    yield from sixteen_bit_claims(runs)
