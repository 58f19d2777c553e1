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

    def text(self, digits, unit="", sign="+"):
        """'+0.42 (-0.10 to +0.94)' with that many digits after the point."""
        if not math.isfinite(self.value):
            return "unbounded"
        form = f"{sign}.{digits}f"
        return (f"{self.value:{form}}{unit} "
                f"({self.low:{form}} to {self.high:{form}})")


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


def paired_ratio(ours, baseline):
    """The same as so many times the baseline: the mean of logarithms, so that
    twice and half weigh alike."""
    seeds = sorted(ours.keys() & baseline.keys())
    found = estimate(math.log(ours[seed] / baseline[seed]) for seed in seeds)
    return Estimate(*map(math.exp, (found.value, found.low, found.high)))


def ratio_of_means(ours, baseline):
    """mean(ours)/mean(baseline), paired by seed, with Fieller's interval: all r
    for which ours - r*baseline may have the mean 0. Unbounded where the
    baseline's mean may be 0."""
    seeds = sorted(ours.keys() & baseline.keys())
    x = [ours[seed] for seed in seeds]
    y = [baseline[seed] for seed in seeds]
    n = len(seeds)
    x_mean, y_mean = statistics.fmean(x), statistics.fmean(y)
    ratio = x_mean / y_mean if y_mean else math.nan
    if n < 2:
        return Estimate(ratio, -math.inf, math.inf)
    # (x_mean - r*y_mean)^2 <= t^2/n * var(x - r*y), a quadratic in r.
    t = t_quantile(n - 1)**2 / n
    xx = sum((a - x_mean)**2 for a in x) / (n - 1)
    yy = sum((b - y_mean)**2 for b in y) / (n - 1)
    xy = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y)) / (n - 1)
    a = y_mean**2 - t * yy
    b = x_mean * y_mean - t * xy
    c = x_mean**2 - t * xx
    if a <= 0:
        return Estimate(ratio, -math.inf, math.inf)
    reach = math.sqrt(max(b * b - a * c, 0))
    return Estimate(ratio, (b - reach) / a, (b + reach) / a)
