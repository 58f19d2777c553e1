#!/usr/bin/env python3
"""Makes of the experiments' tables verdicts, plots and a page.

    main.py FOLDER

reads rule.csv, quadratic.csv, images.csv, images_loss.csv and link.csv there
and adds claims.csv, comparisons.csv, the plots and index.html.
"""

import pathlib
import sys

import image_claims
import image_runs
import link_claims
import page
import plots
import quadratic_claims
import rule_claims
import tables as csv_tables

CLAIM_COLUMNS = ("claim", "article", "ours", "verdict")


def all_claims(tables):
    return [claim
            for module in (rule_claims, quadratic_claims, image_claims,
                           link_claims)
            for claim in module.claims(tables)]


def write_comparisons(folder, compared):
    csv_tables.write(
        folder, "comparisons",
        ("optimizer", "comparison", "ours", "baseline", "accuracy_gain",
         "accuracy_gain_low", "accuracy_gain_high", "loss_change",
         "loss_change_low", "loss_change_high"),
        [(optimizer, what, ours, baseline, gain.value, gain.low, gain.high,
          change.value, change.low, change.high)
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
    page.write(folder, claims, compared, plots.draw_all(folder, tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
