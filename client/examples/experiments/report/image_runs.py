"""ImageRuns: what the runs on images say, by setting and seed."""

import dataclasses
import math
import statistics

from estimates import Estimate, estimate, paired_change, paired_difference
from verdicts import of_runs

FINAL_WINDOWS = 3  # of 100 pushes each


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Ours against a baseline, over the seeds at which neither diverged; how
    many did. `found` is unset where no seed is left."""
    found: Estimate | None
    ours_diverged: int
    baseline_diverged: int
    seeds: int

    @property
    def estimate(self):
        """`found`, or one that holds everything."""
        return self.found or Estimate(math.nan, -math.inf, math.inf)

    def text(self, form):
        """`form` makes of an estimate its text."""
        parts = [form(self.found)] if self.found else []
        for who, count in (("ours diverges", self.ours_diverged),
                           ("the baseline diverges", self.baseline_diverged)):
            if count:
                parts.append(f"{who} in {count} of {self.seeds} runs")
        return "; ".join(parts)

    def verdict(self, judge):
        """`judge` makes of an estimate its verdict."""
        return of_runs(judge, self.found, self.ours_diverged,
                       self.baseline_diverged)


def mean_and_spread(curves):
    """Of curves of different lengths: at each place the mean and the standard
    deviation of those that come so far."""
    mean, spread = [], []
    for place in range(max(map(len, curves), default=0)):
        values = [curve[place] for curve in curves if len(curve) > place]
        mean.append(statistics.fmean(values))
        spread.append(statistics.pstdev(values))
    return mean, spread


class ImageRuns:

    def __init__(self, tables):
        self._runs = {}
        self._losses = {}
        self._noise = {}
        for row in tables["images"]:
            self._runs.setdefault(row["setting"], {})[row["seed"]] = row
        for row in tables["images_loss"]:
            self._losses.setdefault((row["setting"], row["seed"]), []).append(
                row["loss"])
        for row in tables["images_noise"]:
            self._noise.setdefault(row["setting"], []).append(row)

    def settings(self, prefix=""):
        return [name for name in self._runs if name.startswith(prefix)]

    def runs(self, setting):
        return list(self._runs[setting].values())

    def seeds(self, setting):
        return sorted(self._runs[setting])

    def of_runs(self, setting, column, factor=1):
        return {seed: factor * run[column]
                for seed, run in self._runs[setting].items()}

    def accuracy(self, setting):
        """Of the test set, in percent, by seed."""
        return self.of_runs(setting, "test_accuracy", 100)

    def gap(self, setting):
        """Accuracy of training less that of the test set, in points."""
        test = self.accuracy(setting)
        return {seed: accuracy - test[seed] for seed, accuracy in
                self.of_runs(setting, "train_accuracy", 100).items()}

    def windows(self, setting, seed):
        """The training loss, averaged over 100 pushes at a time."""
        return self._losses.get((setting, seed), [])

    def final_loss(self, setting):
        return {seed: statistics.fmean(
                    self.windows(setting, seed)[-FINAL_WINDOWS:])
                for seed in self._finished(setting)}

    def oscillation(self, setting):
        """How much the windows of the second half go up and down: the root mean
        square of the changes from one to the next over sqrt(2), which a trend
        hardly adds to."""
        by_seed = {}
        for seed in self._finished(setting):
            windows = self.windows(setting, seed)
            windows = windows[len(windows) // 2:]
            squares = statistics.fmean(
                (b - a)**2 for a, b in zip(windows, windows[1:]))
            by_seed[seed] = math.sqrt(squares / 2)
        return by_seed

    def noise(self, setting):
        return self._noise.get(setting, [])

    def gain(self, ours, baseline):
        """In points of test accuracy, paired by seed."""
        return self.compare(paired_difference, self.accuracy, ours, baseline)

    def loss_change(self, ours, baseline):
        return self.compare(paired_change, self.final_loss, ours, baseline)

    def oscillation_change(self, ours, baseline):
        return self.compare(paired_change, self.oscillation, ours, baseline)

    def compare(self, how, measure, ours, baseline):
        """`measure` of both settings by seed, `how` of the two."""
        both = set(self._finished(ours)) & set(self._finished(baseline))
        kept = [{seed: value for seed, value in measure(setting).items()
                 if seed in both} for setting in (ours, baseline)]
        return Comparison(how(*kept) if both else None,
                          self._diverged(ours), self._diverged(baseline),
                          len(self._runs[ours]))

    def best(self, prefixes):
        """The setting of the highest mean accuracy on what was held out of the
        training set: chosen there, compared on the test set."""
        names = [name for prefix in prefixes for name in self.settings(prefix)]
        return max(names, key=lambda name: estimate(
            self.of_runs(name, "held_out_accuracy").values()).value)

    def _finished(self, setting):
        """The seeds whose run stayed among the numbers."""
        return [seed for seed, run in self._runs[setting].items()
                if not run["diverged"]]

    def _diverged(self, setting):
        return len(self._runs[setting]) - len(self._finished(setting))


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
