"""The verdicts on training runs, on planted ones."""

import math
import unittest

# First: it finds the rest.
from planted import by_claim, image_tables, rule_rows
import flatness_claims
import image_claims
import image_runs
import proposal_claims
import summary_claims
from verdicts import DIFFERENT, NOT_REPRODUCED, REPRODUCED


class ImageClaimsTest(unittest.TestCase):
    SHARE = ("share of the full scheme's gain that sparse updating has alone "
             "(the rest, 23 %, is beta's)")

    def claims(self, **planted):
        tables = image_tables(**planted)
        return by_claim([claim for module in
                         (image_claims, flatness_claims, proposal_claims,
                          summary_claims) for claim in module.claims(tables)])

    def test_without_an_effect_none_is_reproduced(self):
        found = self.claims()
        for claim in ("sparse updating alone (k = 4) improves accuracy by",
                      "the slid beta alone improves accuracy by",
                      "both together improve accuracy by",
                      self.SHARE,
                      "k = 4 lowers the final loss, at equal effective rates"):
            self.assertEqual(found[claim].verdict, NOT_REPRODUCED, claim)

    def test_an_effect_of_the_articles_size_is_reproduced(self):
        found = self.claims(accuracy={"adamw/sparse_only/k4/conservative": 0.809,
                                      "adamw/full/k4/conservative": 0.811})
        claim = found["sparse updating alone (k = 4) improves accuracy by"]
        self.assertEqual(claim.verdict, REPRODUCED, claim.ours)
        share = found[self.SHARE]
        self.assertEqual(share.verdict, REPRODUCED)
        # 0.9/1.1, with an interval.
        self.assertRegex(share.ours, r"^82 % \(\d+ to \d+\)$")

    def test_oscillation_is_measured_without_the_trend(self):
        # Up and down by 0.01 each window: changes of 0.02, over sqrt(2).
        runs = image_runs.ImageRuns(image_tables())
        for found in runs.oscillation("sgd/standard/x1").values():
            self.assertAlmostEqual(found, 0.02 / math.sqrt(2))
        calmer = self.claims(swing={"sgd/accumulation/k4/linear": 0.006})
        claim = calmer["the loss curve oscillates less, at equal effective "
                       "rates"]
        self.assertIn("-40.0 %", claim.ours)

    def test_a_baseline_that_diverges_proves_nothing_about_size(self):
        found = self.claims(diverged={"sgd/undamped"})
        claim = found["k = 4 lowers the final loss, as coded"]
        self.assertEqual((claim.verdict, claim.ours),
                         (DIFFERENT, "the baseline diverges in 4 of 4 runs"))

    def test_seeds_that_diverge_are_counted_and_not_averaged(self):
        found = self.claims(diverged={("sgd/undamped", 2)})
        claim = found["k = 4 lowers the final loss, as coded"]
        self.assertEqual(claim.ours, "+0.0 % (+0.0 to +0.0); the baseline "
                         "diverges in 1 of 4 runs")
        self.assertEqual(claim.verdict, NOT_REPRODUCED)

    def test_what_diverges_itself_reproduces_nothing(self):
        ours = "adamw/sparse_only/k4/conservative"
        found = self.claims(accuracy={ours: 0.809}, diverged={(ours, 1)})
        claim = found["sparse updating alone (k = 4) improves accuracy by"]
        self.assertEqual(claim.verdict, NOT_REPRODUCED)
        self.assertIn("ours diverges in 1 of 4 runs", claim.ours)

    def test_runs_of_different_lengths_have_a_mean_curve(self):
        mean, spread = image_runs.mean_and_spread([[1, 2, 3], [3], []])
        self.assertEqual(mean, [2, 2, 3])
        self.assertEqual(spread, [1, 0, 0])
        self.assertEqual(image_runs.mean_and_spread([]), ([], []))

    def test_the_best_is_chosen_on_what_was_held_out(self):
        runs = image_runs.ImageRuns(image_tables(
            accuracy={"sgd/standard/x1": 0.99},
            held_out={"sgd/standard/x0.25": 0.81}))
        self.assertEqual(runs.best(["sgd/standard"]), "sgd/standard/x0.25")

    def test_a_flatter_minimum_is_told_from_as_sharp_a_one(self):
        claim = ("flatter minima: largest eigenvalue of the Hessian, of that at "
                 "k = 1, k = 4, equal effective rate")
        self.assertEqual(self.claims()[claim].verdict, NOT_REPRODUCED)
        flatter = self.claims(eigenvalue={"sgd/accumulation/k4/linear": 5})
        self.assertEqual(flatter[claim].verdict, REPRODUCED)

    def test_noise_that_grows_does_not_fall(self):
        claim = ("noise falls as training goes on: sigma/mu in the last "
                 "quarter, of that in the first tenth")
        for early, late, verdict in ((0.04, 0.01, NOT_REPRODUCED),
                                     (0.01, 0.04, REPRODUCED)):
            found = self.claims(signal={("early", "all"): early,
                                        ("late", "all"): late})
            self.assertEqual(found[claim].verdict, verdict, found[claim].ours)

    def test_a_formula_that_is_above_k_0_in_any_noise_does_not_come_down(self):
        found = self.claims()["its k comes down to k_0 = 4 as noise falls: in "
                              "the last quarter"]
        self.assertEqual(found.verdict, NOT_REPRODUCED)
        # sigma = 1, |m|^2 = 0.01 + 0.1 at most: 4*(1 + 3.01), rounded up.
        self.assertIn("17.0", found.ours)

    def test_the_noisier_layer_is_the_one_with_less_signal(self):
        claim = ("shallow layers' gradients are noisier: sigma/mu of the first "
                 "of 4 layers, of the last's")
        self.assertEqual(self.claims()[claim].verdict, NOT_REPRODUCED)
        signal = {(part, "layer1"): 0.0025 for part in ("early", "late")}
        found = self.claims(signal=signal)[claim]
        self.assertEqual(found.verdict, REPRODUCED)
        self.assertIn("x2.00", found.ours)

    def test_an_optimizer_that_is_refused_does_not_fit(self):
        claim = "it fits every optimizer with momentum: lion at k = 4"
        self.assertEqual(self.claims()[claim].verdict, NOT_REPRODUCED)

    def test_a_k_that_does_not_come_down_again_follows_nothing(self):
        claim = ("k follows the noise, up and down: sigma/mu of 2, 12 and 2 "
                 "again")
        tables = image_tables()
        for again, verdict in ((2, REPRODUCED), (3, NOT_REPRODUCED)):
            tables.update(rule_rows(adaptive_k_little_again=again))
            found = by_claim(proposal_claims.claims(tables))[claim]
            self.assertEqual(found.verdict, verdict)

    def test_a_best_k_is_between_two_certain_changes(self):
        claim = ("there is a best k, between 1 and 8: final loss at k = 1, 4, "
                 "8, equal effective rates")
        for at_4, verdict in ((0.02, NOT_REPRODUCED), (-0.02, REPRODUCED)):
            tables = image_tables()
            for row in tables["images_loss"]:
                if row["setting"] == "sgd/accumulation/k4/linear":
                    row["loss"] += at_4
            found = by_claim(image_claims.claims(tables))[claim]
            self.assertEqual(found.verdict, verdict)

    def test_a_gain_that_is_none_has_no_shares(self):
        found = self.claims()[self.SHARE]
        self.assertIn("no gain to share", found.ours)
        self.assertEqual(found.verdict, NOT_REPRODUCED)
        # Sparse updating loses as much of a loss: 82 % of no gain.
        found = self.claims(
            accuracy={"adamw/sparse_only/k4/conservative": 0.791,
                      "adamw/full/k4/conservative": 0.789})
        self.assertEqual(found[self.SHARE].verdict, NOT_REPRODUCED)

    def test_any_byte_of_a_buffer_refutes_that_there_is_none(self):
        claim = ("accumulation without further memory: bytes of accumulation "
                 "buffers")
        self.assertEqual(self.claims()[claim].verdict, REPRODUCED)
        self.assertEqual(self.claims(buffer_bytes=4)[claim].verdict,
                         NOT_REPRODUCED)

    def test_comparisons_name_each_others_seeds(self):
        compared = list(image_runs.comparisons(
            image_runs.ImageRuns(image_tables())))
        self.assertEqual(len(compared),
                         2 * (len(image_runs.COMPARISONS) + 1))
        for _, _, _, _, gain, _ in compared:
            self.assertAlmostEqual(gain.found.value, 0, delta=0.05)
