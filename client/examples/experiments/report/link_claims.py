"""Claims of 6.3, 8.3 and 9 about communication, from link.csv."""

import statistics

from estimates import paired_change
from tables import select
from verdicts import Claim, not_measured, of_effect, of_value


def bytes_of(row):
    """Both ways; of the interface where it was counted, else of payloads."""
    carried = row["link_in_bytes"] + row["link_out_bytes"]
    return carried or row["received_bytes"] + row["sent_bytes"]


def pushed_bytes_of(row):
    return row["link_out_bytes"] or row["received_bytes"]


def runs_of(rows, method, k, local, encoding="f32"):
    return select(rows, method=method, k=k, local=local, encoding=encoding)


def times_fewer(rows, local, count):
    """Standard's bytes over those of k = 4 with the top 10 %."""
    standard = runs_of(rows, "standard", 1, 0)
    ours = runs_of(rows, "accumulation", 4, local, "topk")
    return (statistics.fmean(map(count, standard)) /
            statistics.fmean(map(count, ours)))


def traffic(rows, method, k, local):
    """Of the standard method's bytes."""
    ours = runs_of(rows, method, k, local)
    standard = runs_of(rows, "standard", 1, 0)
    return (statistics.fmean(map(bytes_of, ours)) /
            statistics.fmean(map(bytes_of, standard)))


def time_change(rows, method, k, local):
    ours = runs_of(rows, method, k, local)
    standard = runs_of(rows, "standard", 1, 0)
    return paired_change(
        {i: row["seconds"] for i, row in enumerate(ours)},
        {i: row["seconds"] for i, row in enumerate(standard)})


def was_shaped(rows):
    """Bytes of an interface are there only if the link was."""
    return any(row["link_out_bytes"] for row in rows)


def byte_claims(rows):
    for what, local in (("every gradient is pushed", 0),
                        ("workers accumulate locally", 1)):
        saved = traffic(rows, "sparse_only", 4, local) - 1
        yield Claim("6.3; 9", f"k = 4 saves communication, where {what}",
                    "-75 %", f"{100 * saved:+.1f} %",
                    of_value(-0.75, saved, 0.01),
                    "a server hears N a push and sends N an update" if not local
                    else "one push of 4 micro-steps")


def time_claims(rows):
    for what, local in (("every gradient is pushed", 0),
                        ("workers accumulate locally", 1)):
        claim = f"k = 4 saves time, where {what}"
        if not was_shaped(rows):
            yield not_measured("6.3", claim, "-7 %", "no link could be shaped: "
                               "that needs root, veth and tbf")
            continue
        change = time_change(rows, "sparse_only", 4, local)
        yield Claim("6.3", claim, "-7 %", change.scaled(100).text(0, " %"),
                    of_effect(-0.07, change),
                    "1 Gbit/s; how much depends on what else a step costs")


def compression_claims(rows):
    for what, count in (("in the direction of pushes", pushed_bytes_of),
                        ("both ways", bytes_of)):
        fewer = times_fewer(rows, 1, count)
        without = times_fewer(rows, 0, count)
        yield Claim("eq. 55; 8.3", f"k = 4 with the top 10 % sends 40 times "
                    f"less, {what}", "x40", f"x{fewer:.1f}",
                    of_value(40, fewer, 0.5),
                    "an element sent takes its index along, 8 bytes for 4; "
                    f"workers accumulate locally, else x{without:.1f}")


def claims(tables):
    rows = tables["link"]
    yield from byte_claims(rows)
    yield from time_claims(rows)
    yield from compression_claims(rows)
