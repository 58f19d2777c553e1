"""ImageRuns: what the runs on images say, by setting and seed."""

import math
import statistics

from estimates import estimate, paired_change, paired_difference

FINAL_WINDOWS = 3  # of 100 pushes each


class ImageRuns:

    def __init__(self, tables):
        self._runs = {}
        self._losses = {}
        for row in tables["images"]:
            self._runs.setdefault(row["setting"], {})[row["seed"]] = row
        for row in tables["images_loss"]:
            self._losses.setdefault((row["setting"], row["seed"]), []).append(
                row["loss"])

    def settings(self, prefix=""):
        return [name for name in self._runs if name.startswith(prefix)]

    def runs(self, setting):
        return list(self._runs[setting].values())

    def accuracy(self, setting):
        """Of the test set, in percent, by seed."""
        return {seed: 100 * run["test_accuracy"]
                for seed, run in self._runs[setting].items()}

    def windows(self, setting, seed):
        """The training loss, averaged over 100 pushes at a time."""
        return self._losses.get((setting, seed), [])

    def final_loss(self, setting):
        """Over the last windows; infinite where the run left the numbers."""
        return {seed: math.inf if run["diverged"] else statistics.fmean(
                    self.windows(setting, seed)[-FINAL_WINDOWS:])
                for seed, run in self._runs[setting].items()}

    def oscillation(self, setting):
        """How much the windows of the second half go up and down: the root mean
        square of the changes from one to the next over sqrt(2), which a trend
        hardly adds to."""
        by_seed = {}
        for seed in self._runs[setting]:
            windows = self.windows(setting, seed)
            windows = windows[len(windows) // 2:]
            if len(windows) < 2:
                by_seed[seed] = math.inf
                continue
            squares = statistics.fmean(
                (b - a)**2 for a, b in zip(windows, windows[1:]))
            by_seed[seed] = math.sqrt(squares / 2)
        return by_seed

    def gain(self, ours, baseline):
        """In points of test accuracy, paired by seed."""
        return paired_difference(self.accuracy(ours), self.accuracy(baseline))

    def loss_change(self, ours, baseline):
        return paired_change(self.final_loss(ours), self.final_loss(baseline))

    def oscillation_change(self, ours, baseline):
        return paired_change(self.oscillation(ours),
                             self.oscillation(baseline))

    def best(self, prefixes):
        """The setting of the highest mean accuracy."""
        names = [name for prefix in prefixes for name in self.settings(prefix)]
        return max(names,
                   key=lambda name: estimate(self.accuracy(name).values()).value)


# What 5.1's question turns on, for each optimizer: (what is compared, ours,
# baseline). A method at k with the learning rate times k goes as far per push
# as the standard one; at the same learning rate, as far as that at a quarter.
COMPARISONS = (
    ("sparse only against standard, same learning rate",
     "sparse_only/k4/conservative", "standard/x1"),
    ("sparse only against standard, equal effective rate (both at a quarter)",
     "sparse_only/k4/conservative", "standard/x0.25"),
    ("sparse only against standard, equal effective rate (both full)",
     "sparse_only/k4/linear", "standard/x1"),
    ("beta only against standard", "beta_only/k4/conservative", "standard/x1"),
    ("full against standard, same learning rate", "full/k4/conservative",
     "standard/x1"),
    ("full against standard, equal effective rate", "full/k4/linear",
     "standard/x1"),
)


def comparisons(runs):
    """(optimizer, what, ours, baseline, gain, change of loss), of all there
    is."""
    for optimizer in ("sgd", "adamw"):
        for what, ours, baseline in COMPARISONS:
            ours, baseline = f"{optimizer}/{ours}", f"{optimizer}/{baseline}"
            yield (optimizer, what, ours, baseline, runs.gain(ours, baseline),
                   runs.loss_change(ours, baseline))
        best = runs.best([f"{optimizer}/standard"])
        sparse = runs.best([f"{optimizer}/sparse_only"])
        yield (optimizer, "sparse only against standard, each at its best "
               "learning rate", sparse, best, runs.gain(sparse, best),
               runs.loss_change(sparse, best))
