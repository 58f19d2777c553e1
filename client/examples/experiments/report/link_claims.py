"""Claims of 6.3, 8.3 and 9 about communication, from link.csv and
loopback.csv."""

from estimates import (estimate, paired_change, paired_difference,
                       paired_ratio)
from formats import percent, plain, points, times
from tables import select
from tolerances import half_unit
from verdicts import (Claim, not_measured, of_direction, of_effect,
                      of_no_change, of_order, pairs_of_order)

UNSHAPED = ("no link could be shaped: that needs veth, tbf, and root or user "
            "namespaces")
STANDARD = ("standard", 1, 0, "f32")
# 6.3's four rows: the second is how workers push, 1: locally accumulated.
FOUR_ROWS = (("baseline", "standard", 1, 0), ("beta only", "beta_only", 4, 0),
             ("sparse only", "sparse_only", 4, 0),
             ("sparse only, accumulated locally", "sparse_only", 4, 1),
             ("full", "full", 4, 0), ("full, accumulated locally", "full", 4, 1))


def bytes_of(row):
    """Both ways; of the interface where it was counted, else of payloads."""
    carried = row["link_in_bytes"] + row["link_out_bytes"]
    return carried or row["received_bytes"] + row["sent_bytes"]


def pushed_bytes_of(row):
    return row["link_out_bytes"] or row["received_bytes"]


def seconds_of(row):
    return row["seconds"]


def runs_of(rows, method, k, local, encoding="f32"):
    return select(rows, method=method, k=k, local=local, encoding=encoding)


def by_seed(rows, setting, of):
    """`setting`: (method, k, local, encoding)."""
    return {row["seed"]: of(row) for row in runs_of(rows, *setting)}


def times_fewer(rows, local, count):
    """Standard's bytes over those of k = 4 with the top 10 %."""
    return paired_ratio(by_seed(rows, STANDARD, count),
                        by_seed(rows, ("accumulation", 4, local, "topk"),
                                count))


def change(rows, setting, of, baseline=STANDARD):
    return paired_change(by_seed(rows, setting, of),
                         by_seed(rows, baseline, of))


def time_change(rows, setting, baseline=STANDARD):
    return change(rows, setting, seconds_of, baseline)


def was_shaped(rows):
    """Bytes of an interface are there only if the link was."""
    return any(row["link_out_bytes"] for row in rows)


def fastest(rows):
    """Of either way, in bytes a second over a run."""
    return max(max(row["link_out_bytes"], row["link_in_bytes"]) / row["seconds"]
               for row in rows)


def four_rows(rows):
    """(name, MB both ways, seconds, loss) of 6.3's four rows, over seeds."""
    for name, *setting in FOUR_ROWS:
        setting = (*setting, "f32")
        yield (name, *(estimate(by_seed(rows, setting, of).values())
                       for of in (lambda row: bytes_of(row) / 1e6, seconds_of,
                                  lambda row: row["loss"])))


def byte_claims(rows):
    for what, local in (("every gradient is pushed", 0),
                        ("workers accumulate locally", 1)):
        saved = change(rows, ("sparse_only", 4, local, "f32"), bytes_of)
        yield Claim("6.3; 9", f"k = 4 saves communication, where {what}",
                    "-75 %", percent(saved),
                    of_effect(-0.75, saved, rounding=half_unit(2)),
                    "a server hears N a push and sends N an update" if not local
                    else "one push of 4 micro-steps")
    for what, of, article in (("updates", "updates", -75),
                              ("gradients computed", "micro_batches", 0)):
        found = change(rows, ("sparse_only", 4, 0, "f32"),
                       lambda row, of=of: row[of])
        yield Claim("6.3", f"k = 4 changes the number of {what} by",
                    f"{article:+} %" if article else "0 %",
                    f"{100 * found.value:+.0f} %",
                    of_effect(-0.75, found, rounding=half_unit(2))
                    if article else of_no_change(found, 0))


def time_claims(rows, loopback):
    for what, local in (("every gradient is pushed", 0),
                        ("workers accumulate locally", 1)):
        claim = f"k = 4 saves time, where {what}"
        slower = ("the slower the link, the more k = 4 saves: time saved at 1 "
                  f"Gbit/s less that without a link, where {what}")
        if not was_shaped(rows):
            yield not_measured("6.3", claim, "-7 %", UNSHAPED)
            yield not_measured("6.3, conclusion", slower, "more", UNSHAPED)
            continue
        setting = ("sparse_only", 4, local, "f32")
        saved = time_change(rows, setting)
        yield Claim("6.3", claim, "-7 %", percent(saved, 0),
                    of_effect(-0.07, saved, rounding=half_unit(2)),
                    "1 Gbit/s; how much depends on what else a step costs")
        more = paired_difference(saving_by_seed(loopback, setting),
                                 saving_by_seed(rows, setting))
        yield Claim("6.3, conclusion", slower, "more",
                    points(more.scaled(100), 0), of_direction(1, more),
                    "against the loopback interface, same job")


def saving_by_seed(rows, setting):
    """Time as a part of the standard method's, by seed."""
    ours = by_seed(rows, setting, seconds_of)
    standard = by_seed(rows, STANDARD, seconds_of)
    return {seed: seconds / standard[seed] for seed, seconds in ours.items()}


def four_row_claims(rows):
    seconds_claim = ("over the link: seconds of baseline, beta only, sparse "
                     "only, full (once more 6.3's time saved where every "
                     "gradient is pushed)")
    if not was_shaped(rows):
        yield not_measured("6.3, table", seconds_claim, "72 h, -, 67 h, -",
                           UNSHAPED)
    else:
        settings = {name: tuple(setting) + ("f32",)
                    for name, *setting in FOUR_ROWS}
        seconds = [estimate(by_seed(rows, settings[name], seconds_of).values())
                   for name in ("baseline", "beta only", "sparse only", "full")]
        saved = time_change(rows, settings["sparse only"])
        yield Claim("6.3, table", seconds_claim, "72 h, -, 67 h, -",
                    ", ".join(plain(found, 2) for found in seconds),
                    of_effect(67 / 72 - 1, saved, rounding=half_unit(2)),
                    "every gradient pushed; the verdict is about sparse only "
                    "against the baseline")
    names = [(method, k, local, "f32") for name, method, k, local in FOUR_ROWS
             if "locally" not in name]
    changes = [change(rows, b, lambda row: row["loss"], a)
               for a, b in pairs_of_order(names)]
    losses = [estimate(by_seed(rows, name, lambda row: row["loss"]).values())
              for name in names]
    yield Claim("6.3, table", "over the link: loss of baseline, beta only, "
                "sparse only, full falls in this order",
                "1.82, 1.79, 1.76, 1.74",
                ", ".join(plain(found, 3) for found in losses),
                of_order(changes),
                "sgd, two workers, same learning rate, few updates: the last "
                "quarter of a short job")


def compression_claims(rows):
    for what, count in (("in the direction of pushes", pushed_bytes_of),
                        ("both ways", bytes_of)):
        fewer = times_fewer(rows, 1, count)
        without = times_fewer(rows, 0, count)
        yield Claim("eq. 55; 8.3, direction 4", "k = 4 with the top 10 % sends "
                    f"40 times less, {what}", "x40",
                    times(fewer, 1),
                    of_effect(40, fewer, none=1, rounding=half_unit(0)),
                    "an element sent takes its index along, 8 bytes for 4; "
                    f"workers accumulate locally, else x{without.value:.1f}")
    dense = paired_ratio(
        by_seed(rows, ("accumulation", 4, 1, "f32"), pushed_bytes_of),
        by_seed(rows, STANDARD, pushed_bytes_of))
    yield Claim("eq. 55", "N/k bytes of a gradient without compression, k = 4, "
                "workers accumulating locally", "0.25", plain(dense, 3),
                of_effect(0.25, dense, none=1, rounding=half_unit(2)))


def claims(tables):
    rows = tables["link"]
    yield from byte_claims(rows)
    yield from time_claims(rows, tables["loopback"])
    yield from four_row_claims(rows)
    yield from compression_claims(rows)
