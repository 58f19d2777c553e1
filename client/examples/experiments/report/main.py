#!/usr/bin/env python3
"""Makes of the experiments' tables verdicts, plots and a page.

    main.py FOLDER

reads the experiments' tables there (tables.py) and adds claims.csv,
comparisons.csv, the plots and index.html.
"""

import pathlib
import sys

import flatness_claims
import image_claims
import image_runs
import link_claims
import noise_claims
import page
import plots
import proposal_claims
import quadratic_claims
import rule_claims
import summary_claims
import tables as csv_tables

CLAIM_COLUMNS = ("claim", "article", "ours", "verdict")


def all_claims(tables):
    return [claim
            for module in (rule_claims, noise_claims, flatness_claims,
                           quadratic_claims, image_claims, link_claims,
                           proposal_claims, summary_claims)
            for claim in module.claims(tables)]


def ends(found):
    return (found.value, found.low, found.high) if found else ("", "", "")


def write_comparisons(folder, compared):
    csv_tables.write(
        folder, "comparisons",
        ("optimizer", "comparison", "ours", "baseline", "accuracy_gain",
         "accuracy_gain_low", "accuracy_gain_high", "loss_change",
         "loss_change_low", "loss_change_high", "ours_diverged",
         "baseline_diverged"),
        [(optimizer, what, ours, baseline, *ends(gain.found),
          *ends(change.found), gain.ours_diverged, gain.baseline_diverged)
         for optimizer, what, ours, baseline, gain, change in compared])


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = pathlib.Path(sys.argv[1])
    tables = csv_tables.read_all(folder)
    missing = [name for name, rows in tables.items() if not rows]
    if missing:
        print(f"main.py: {folder} lacks {', '.join(missing)}", file=sys.stderr)
        return 1
    claims = all_claims(tables)
    csv_tables.write(folder, "claims", CLAIM_COLUMNS,
                     [(f"{claim.where}: {claim.claim}", claim.article,
                       claim.ours, claim.verdict) for claim in claims])
    compared = list(image_runs.comparisons(image_runs.ImageRuns(tables)))
    write_comparisons(folder, compared)
    page.write(folder, claims, compared, tables,
               plots.draw_all(folder, tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
