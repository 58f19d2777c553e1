"""Claims of 5.2 (mechanism 3, theorem 1) and 9: whether fewer updates end in
flatter minima and generalise better; from images.csv."""

from estimates import paired_difference, paired_ratio
from formats import times
from image_claims import SGD, SGD_K4, SGD_K8, effect_claim
from image_runs import ImageRuns
from verdicts import Claim, of_direction


def sharpness_claims(runs):
    eigenvalue = "largest eigenvalue of the Hessian, of that at k = 1, "
    note = ("power iteration on 2,000 training images; the mean ratio over "
            "seeds")
    for what, ours, more in (
            ("k = 4, same learning rate", SGD_K4 + "conservative",
             "; it has gone a quarter as far"),
            ("k = 8, same learning rate", SGD_K8 + "conservative",
             "; it has gone an eighth as far"),
            ("k = 4, equal effective rate", SGD_K4 + "linear", ""),
            ("k = 8, equal effective rate", SGD_K8 + "linear", ""),
            ("sparse only, k = 4, equal effective rate",
             "sgd/sparse_only/k4/linear", "")):
        found = runs.compare(
            paired_ratio, lambda name: runs.of_runs(name, "largest_eigenvalue"),
            ours, SGD)
        yield Claim("5.2, theorem 1; 9", f"flatter minima: {eigenvalue}{what}",
                    "less", found.text(times),
                    found.verdict(lambda ratio: of_direction(-1, ratio, none=1)),
                    note + more)
    for what, ours in (("k = 4", SGD_K4 + "linear"),
                       ("k = 8", SGD_K8 + "linear")):
        rise = runs.compare(paired_difference,
                            lambda name: runs.of_runs(name, "loss_rise"), ours,
                            SGD)
        yield Claim("5.2, theorem 1; 9", "flatter minima: rise of the loss in "
                    f"random directions, less that at k = 1, {what}, equal "
                    "effective rate", "less",
                    rise.text(lambda found: found.text(6)),
                    rise.verdict(lambda found: of_direction(-1, found)),
                    "by 5 % of the parameters' norm, 10 directions, both ways")


def generalisation_claims(runs):
    for what, ours in (("k = 4", SGD_K4 + "linear"),
                       ("k = 8", SGD_K8 + "linear")):
        gap = runs.compare(paired_difference, runs.gap, ours, SGD)
        yield effect_claim("5.2, theorem 1; 9, table", "it generalises better: "
                           f"training less test accuracy, {what} against k = "
                           "1, equal effective rate", "less", "points", gap,
                           "large batches generalise better, says the article; "
                           "Keskar et al., whom it cites, found the opposite")


def claims(tables):
    runs = ImageRuns(tables)
    yield from sharpness_claims(runs)
    yield from generalisation_claims(runs)
