"""Estimates with their intervals, and verdicts on them."""

import math
import pathlib
import unittest

import planted  # noqa: F401  first: it finds the rest
import estimates
import verdicts
from verdicts import DIFFERENT, MEANINGS, NOT_REPRODUCED, REPRODUCED


class EstimatesTest(unittest.TestCase):

    def test_the_interval_is_students(self):
        # Mean 2, deviation 1, t(2) = 4.303.
        found = estimates.estimate([1, 2, 3])
        self.assertAlmostEqual(found.value, 2)
        self.assertAlmostEqual(found.high - 2, 4.303 / math.sqrt(3))
        self.assertAlmostEqual(found.low, 4 - found.high)

    def test_one_number_bounds_nothing(self):
        found = estimates.estimate([1.5])
        self.assertEqual((found.value, found.low, found.high),
                         (1.5, -math.inf, math.inf))

    def test_what_left_the_numbers_bounds_nothing(self):
        self.assertEqual(estimates.estimate([1, math.inf]).low, -math.inf)
        self.assertEqual(
            verdicts.of_effect(-0.1, estimates.estimate([1, math.nan])),
            NOT_REPRODUCED)

    def test_differences_are_paired_by_seed(self):
        # Far apart from seed to seed, and yet always 1 more.
        ours = {1: 11, 2: 101, 3: 1001, 4: 5}
        found = estimates.paired_difference(ours, {1: 10, 2: 100, 3: 1000})
        self.assertEqual((found.low, found.value, found.high), (1, 1, 1))

    def test_changes_are_parts_of_the_baseline(self):
        found = estimates.paired_change({1: 9, 2: 90}, {1: 10, 2: 100})
        self.assertAlmostEqual(found.value, -0.1)

    def test_t_falls_and_stays_above_the_normal_quantile(self):
        quantiles = [estimates.t_quantile(n) for n in range(1, 100)]
        self.assertEqual(quantiles, sorted(quantiles, reverse=True))
        self.assertGreater(quantiles[-1], 1.959)


    def test_ratios_weigh_twice_and_half_alike(self):
        found = estimates.paired_ratio({1: 2, 2: 1}, {1: 1, 2: 2})
        self.assertAlmostEqual(found.value, 1)
        self.assertAlmostEqual(found.low * found.high, 1)

    def test_fiellers_interval_is_where_the_difference_may_be_none(self):
        ours = {1: 0.8, 2: 1.1, 3: 0.7, 4: 1.3}
        baseline = {1: 1.0, 2: 1.2, 3: 1.1, 4: 1.5}
        found = estimates.ratio_of_means(ours, baseline)
        self.assertAlmostEqual(found.value, 3.9 / 4.8)
        for end in (found.low, found.high):
            off = estimates.estimate(ours[i] - end * baseline[i] for i in ours)
            # One end of the interval of ours - end*baseline is 0.
            self.assertAlmostEqual(off.low * off.high, 0)

    def test_a_ratio_to_what_may_be_none_is_unbounded(self):
        found = estimates.ratio_of_means({1: 1, 2: 1}, {1: 1, 2: -0.9})
        self.assertEqual((found.low, found.high), (-math.inf, math.inf))


class VerdictsTest(unittest.TestCase):

    def test_a_computation_is_judged_as_an_effect_is(self):
        for ours, verdict in ((0.251, REPRODUCED), (0.5, DIFFERENT),
                              (0.1, DIFFERENT), (0.995, NOT_REPRODUCED),
                              (1.5, NOT_REPRODUCED)):
            found = verdicts.exactly(ours, 0.01)
            self.assertEqual(verdicts.of_effect(0.25, found, none=1), verdict)

    def test_the_articles_last_digit_is_no_difference(self):
        found = verdicts.exactly(0.0037, 1e-6)
        self.assertEqual(verdicts.of_effect(0.004, found), DIFFERENT)
        self.assertEqual(verdicts.of_effect(0.004, found, rounding=5e-4),
                         REPRODUCED)

    def test_of_a_direction_any_size_is_the_articles(self):
        found = estimates.Estimate(5, 0.1, 9.9)
        self.assertEqual(verdicts.of_direction(1, found), REPRODUCED)
        self.assertEqual(verdicts.of_direction(-1, found), NOT_REPRODUCED)
        self.assertEqual(verdicts.of_direction(1, found, none=1),
                         NOT_REPRODUCED)

    def test_no_change_is_the_whole_interval_within_the_tolerance(self):
        estimate = estimates.Estimate
        for found, verdict in ((estimate(1, 0.95, 1.05), REPRODUCED),
                               (estimate(1, 0.8, 1.2), NOT_REPRODUCED),
                               (estimate(1.08, 1.03, 1.13), NOT_REPRODUCED)):
            self.assertEqual(verdicts.of_no_change(found, 0.1, none=1), verdict)

    def test_an_order_holds_step_by_step_or_between_its_ends(self):
        down = estimates.Estimate(-2, -3, -1)
        unclear = estimates.Estimate(-2, -5, 1)
        self.assertEqual(verdicts.of_order([down, down, down]), REPRODUCED)
        self.assertEqual(verdicts.of_order([down, unclear, down]), DIFFERENT)
        self.assertEqual(verdicts.of_order([down, down, unclear]), REPRODUCED)
        self.assertEqual(verdicts.of_order([unclear, down, unclear]),
                         NOT_REPRODUCED)

    def test_of_a_range_the_nearest_is_the_articles(self):
        for value, verdict in ((0.5, DIFFERENT), (0.95, REPRODUCED),
                               (1.5, REPRODUCED), (2.05, REPRODUCED),
                               (2.5, DIFFERENT), (0.05, NOT_REPRODUCED)):
            self.assertEqual(
                verdicts.of_range(1, 2, verdicts.exactly(value, 0.1)), verdict)

    def test_all_parts_are_as_good_as_the_worst(self):
        self.assertEqual(verdicts.of_all(REPRODUCED, REPRODUCED), REPRODUCED)
        self.assertEqual(verdicts.of_all(REPRODUCED, DIFFERENT), DIFFERENT)
        self.assertEqual(
            verdicts.of_all(REPRODUCED, NOT_REPRODUCED, DIFFERENT),
            NOT_REPRODUCED)

    def test_parts_count_each(self):
        for parts, verdict in (
                ((REPRODUCED, REPRODUCED), REPRODUCED),
                ((REPRODUCED, NOT_REPRODUCED), DIFFERENT),
                ((NOT_REPRODUCED, NOT_REPRODUCED), NOT_REPRODUCED)):
            self.assertEqual(verdicts.of_parts(*parts), verdict)

    def test_an_order_is_compared_from_one_to_the_next_and_end_to_end(self):
        self.assertEqual(verdicts.pairs_of_order("abc"),
                         [("a", "b"), ("b", "c"), ("a", "c")])

    def test_every_verdict_has_its_meaning_and_the_readme_has_it_too(self):
        self.assertEqual(set(MEANINGS), set(verdicts.VERDICTS))
        readme = (pathlib.Path(__file__).resolve().parents[2] /
                  "README.md").read_text(encoding="utf-8")
        for verdict, meaning in MEANINGS.items():
            self.assertIn(f"\n| {verdict} | {meaning} |\n", readme)

    def test_no_verdict_is_made_elsewhere(self):
        folder = pathlib.Path(verdicts.__file__).parent
        makers = sorted(path.name for path in folder.glob("*.py")
                        if "REPRODUCED" in path.read_text(encoding="utf-8"))
        # The page has a color for each.
        self.assertEqual(makers, ["page.py", "verdicts.py"])

    def test_an_effect_must_leave_zero_out_on_the_articles_side(self):
        effect = estimates.Estimate
        self.assertEqual(verdicts.of_effect(1, effect(1, -0.1, 2.1)),
                         NOT_REPRODUCED)
        self.assertEqual(verdicts.of_effect(1, effect(0.8, 0.4, 1.2)),
                         REPRODUCED)
        self.assertEqual(verdicts.of_effect(1, effect(0.3, 0.1, 0.5)),
                         DIFFERENT)
        self.assertEqual(verdicts.of_effect(1, effect(-1, -1.2, -0.8)),
                         NOT_REPRODUCED)
        self.assertEqual(verdicts.of_effect(-1, effect(-1, -1.2, -0.8)),
                         REPRODUCED)
