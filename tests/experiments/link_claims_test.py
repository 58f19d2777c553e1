"""The verdicts on runs over a link, on planted ones."""

import unittest

from planted import by_claim, link_tables  # first: it finds the rest
import link_claims
from verdicts import DIFFERENT, NOT_MEASURED, REPRODUCED


class LinkClaimsTest(unittest.TestCase):

    def test_a_server_saves_a_quarter_of_half_without_local_accumulation(self):
        found = by_claim(link_claims.claims(link_tables(True)))
        claim = found["k = 4 saves communication, where every gradient is "
                      "pushed"]
        self.assertEqual((claim.ours, claim.verdict),
                         ("-37.5 % (-37.5 to -37.5)", DIFFERENT))
        claim = found["k = 4 saves communication, where workers accumulate "
                      "locally"]
        self.assertEqual((claim.ours, claim.verdict),
                         ("-75.0 % (-75.0 to -75.0)", REPRODUCED))

    def test_the_articles_four_rows_are_shown_and_judged(self):
        tables = link_tables(True)
        shown = {name: (megabytes.value * 1e6, round(loss.value, 1))
                 for name, megabytes, _, loss in
                 link_claims.four_rows(tables["link"])}
        self.assertEqual(shown, {
            "baseline": (200, 0.9), "beta only": (200, 0.8),
            "sparse only": (125, 0.7),
            "sparse only, accumulated locally": (50, 0.7), "full": (125, 0.6),
            "full, accumulated locally": (50, 0.6)})
        found = by_claim(link_claims.claims(tables))
        order = found["over the link: loss of baseline, beta only, sparse only, "
                      "full falls in this order"]
        self.assertEqual(order.verdict, REPRODUCED)
        seconds = found["over the link: seconds of baseline, beta only, sparse "
                        "only, full (once more 6.3's time saved where every "
                        "gradient is pushed)"]
        self.assertEqual(seconds.verdict, REPRODUCED, seconds.ours)

    def test_a_link_makes_the_difference_where_there_is_none_without(self):
        found = by_claim(link_claims.claims(link_tables(True)))
        claim = found["the slower the link, the more k = 4 saves: time saved at "
                      "1 Gbit/s less that without a link, where workers "
                      "accumulate locally"]
        self.assertEqual(claim.verdict, REPRODUCED)
        self.assertIn("+60 points", claim.ours)

    def test_indices_halve_what_the_top_tenth_saves(self):
        found = by_claim(link_claims.claims(link_tables(True)))
        for what, ours in (("in the direction of pushes",
                            "x20.0 (20.0 to 20.0)"),
                           ("both ways", "x6.7 (6.7 to 6.7)")):
            claim = found[f"k = 4 with the top 10 % sends 40 times less, "
                          f"{what}"]
            self.assertEqual((claim.ours, claim.verdict),
                             (ours, DIFFERENT))

    def test_without_a_shaped_link_time_is_not_measured(self):
        found = by_claim(link_claims.claims(link_tables(False)))
        for what in ("every gradient is pushed", "workers accumulate locally"):
            claim = found[f"k = 4 saves time, where {what}"]
            self.assertEqual(claim.verdict, NOT_MEASURED)
            self.assertIn("root or user namespaces", claim.note)
