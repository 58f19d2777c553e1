"""Estimates: means of few numbers, with the interval that holds the truth in
95 of 100 cases (Student's t), and differences that are paired by seed."""

import dataclasses
import math
import statistics

# Student's t at 0.975, by degrees of freedom from 1.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
      2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
      2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def t_quantile(degrees):
    """At 0.975; beyond the table a little too large."""
    return _T[min(degrees, len(_T)) - 1]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean and its interval. Of one number the interval is unbounded."""
    value: float
    low: float
    high: float

    def scaled(self, factor):
        ends = sorted((self.low * factor, self.high * factor))
        return Estimate(self.value * factor, *ends)

    @property
    def half_width(self):
        return (self.high - self.low) / 2

    def text(self, digits, unit=""):
        """'+0.42 (-0.10 to +0.94)' with that many digits after the point."""
        if not math.isfinite(self.value):
            return "unbounded"
        return (f"{self.value:+.{digits}f}{unit} "
                f"({self.low:+.{digits}f} to {self.high:+.{digits}f})")


def estimate(numbers):
    numbers = list(numbers)
    mean = statistics.fmean(numbers)
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)):
        return Estimate(mean, -math.inf, math.inf)
    reach = (t_quantile(len(numbers) - 1) * statistics.stdev(numbers) /
             math.sqrt(len(numbers)))
    return Estimate(mean, mean - reach, mean + reach)


def paired_difference(ours, baseline):
    """Of two {seed: number}: ours - baseline over the seeds that both have."""
    seeds = sorted(ours.keys() & baseline.keys())
    return estimate(ours[seed] - baseline[seed] for seed in seeds)


def paired_change(ours, baseline):
    """The same as a part of the baseline: 0.1 is ten percent more."""
    seeds = sorted(ours.keys() & baseline.keys())
    return estimate(ours[seed] / baseline[seed] - 1 for seed in seeds)
