"""Page: index.html, which needs no other file."""

import base64
import collections
import html
import pathlib

from formats import plain
from link_claims import fastest, four_rows, was_shaped
from quadratic_claims import expected_loss, final_estimate, final_losses
from tolerances import SMOOTHING
from verdicts import (DIFFERENT, MEANINGS, NOT_MEASURED, NOT_REPRODUCED,
                      REPRODUCED, VERDICTS)

COLORS = {REPRODUCED: "#dff2df", DIFFERENT: "#fdf1cf", NOT_REPRODUCED: "#f9dcdc",
          NOT_MEASURED: "#e8e8e8"}

STYLE = """
body { font: 15px/1.45 sans-serif; max-width: 70em; margin: 2em auto;
       padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border: 1px solid #ccc; padding: .3em .6em; text-align: left;
         vertical-align: top; }
th { background: #f4f4f4; }
img { max-width: 100%; }
.note { color: #555; font-size: 90%; }
"""

CAPTIONS = {
    "decays": "Read off the parameters that the daemon publishes.",
    "quadratic": "Q = diag(10, 1), noise 0.5, learning rate 0.1, beta 0.9.",
    "losses": "Fashion-MNIST, batches of 16; shaded: one standard deviation "
              "over seeds.",
    "accuracies": "Every method at every learning rate that was run; standard "
                  "at multiples of its own, the others at the scalings of 7.1.",
    "flatness": "At the end of training; same samples for all.",
    "noise": "As the daemon measures it, batches of 16.",
    "link": "Two workers; k is the gradients of one worker an update.",
}


def cells(values, tag="td"):
    return "".join(f"<{tag}>{html.escape(str(value))}</{tag}>"
                   for value in values)


def claim_row(claim):
    note = (f'<br><span class="note">{html.escape(claim.note)}</span>'
            if claim.note else "")
    return (f'<tr style="background:{COLORS[claim.verdict]}">'
            f"{cells([claim.where])}<td>{html.escape(claim.claim)}{note}</td>"
            f"{cells([claim.article, claim.ours, claim.verdict])}</tr>")


def claim_table(claims):
    return ("<table><tr>" +
            cells(("where", "the article says", "its figure", "ours",
                   "verdict"), "th") + "</tr>" +
            "".join(map(claim_row, claims)) + "</table>")


def comparison_table(compared):
    rows = "".join(
        "<tr>" + cells((optimizer, what,
                        gain.text(lambda found: found.text(2)),
                        change.text(lambda found: found.scaled(100).text(1))))
        + "</tr>"
        for optimizer, what, _, _, gain, change in compared)
    return ("<table><tr>" +
            cells(("optimizer", "comparison", "accuracy, points",
                   "final training loss, %"), "th") + f"</tr>{rows}</table>")


def answer(compared):
    """In words: does updating less often help by itself?"""
    at_equal_rate = [(optimizer, gain.estimate)
                     for optimizer, what, _, _, gain, _ in compared
                     if what.startswith("sparse only") and "equal" in what]
    better = sum(gain.low > 0 for _, gain in at_equal_rate)
    worse = sum(gain.high < 0 for _, gain in at_equal_rate)
    return (f"Of {len(at_equal_rate)} comparisons at an equal effective rate, "
            f"updating every 4th push is better in {better}, worse in {worse}, "
            f"and not to be told apart in "
            f"{len(at_equal_rate) - better - worse} (95 % intervals over "
            "seeds).")


def four_row_table(rows):
    body = "".join(
        "<tr>" + cells((name, plain(megabytes, 1), plain(seconds, 2),
                        plain(loss, 3)))
        + "</tr>" for name, megabytes, seconds, loss in four_rows(rows))
    return ("<table><tr>" +
            cells(("6.3, k = 4", "MB, both ways", "seconds", "loss"), "th") +
            f"</tr>{body}</table>")


def four_row_text(rows):
    if not was_shaped(rows):
        return ("The link could not be shaped: bytes are those of payloads, "
                "seconds those of the loopback interface.")
    return ("Two workers, 0.8 MB a gradient, over a link of 1 Gbit/s (125 MB/s) "
            f"that carried {fastest(rows) / 1e6:.1f} MB/s at most; means and "
            "95 % intervals over seeds.")


def quadratic_table(rows):
    body = "".join(
        "<tr>" + cells((method, plain(found, 4), f"{expected:.4f}"))
        + "</tr>" for method, found, expected in final_losses(rows))
    return ("<table><tr>" +
            cells(("6.1, k = 4", "loss after 200 pushes, mean of 400 seeds",
                   "its expectation, exactly"), "th") + f"</tr>{body}</table>")


def quadratic_text(rows):
    found = final_estimate(rows, "accumulation")
    return ("The rule is linear and the noise independent, so that means and "
            "covariances of theta and m go by a recursion: it gives the "
            "expectation without a random number. Full accumulation's is "
            f"{expected_loss('accumulation'):.4f}, of which "
            f"{expected_loss('accumulation', noise=0):.4f} are left of the "
            "start at (5, 5) and the rest is noise; a mean of 400 seeds "
            f"scatters around it, this one {plain(found, 4)} with its 95 % "
            "interval.")


def definitions():
    return ("<dl>" + "".join(f"<dt><b>{verdict}</b></dt><dd>{html.escape(text)}"
                             "</dd>" for verdict, text in MEANINGS.items()) +
            "</dl>")


def image(name, path):
    data = base64.b64encode(pathlib.Path(path).read_bytes()).decode("ascii")
    return (f'<p><img alt="{name}" src="data:image/png;base64,{data}"><br>'
            f'<span class="note">{html.escape(CAPTIONS[name])}</span></p>')


def write(folder, claims, compared, tables, plots):
    counts = collections.Counter(claim.verdict for claim in claims)
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS
                        if counts[verdict])
    text = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<title>Accrue: the article's experiments</title><style>{STYLE}</style></head>
<body><h1>The article's experiments, through the daemon</h1>
<p>Claims of
<a href="https://spaces.ac.cn/archives/8634">the article on gradient
accumulation hidden in momentum</a> and what this run measured: {summary}.
Every parameter came from <code>accrued</code>.</p>
<p>Intervals are of 95 %: over seeds, paired, where
gradients are of images (6 seeds, 3 with --quick), over the repetitions of the
link's job (4, each with a seed of its own), over 400 seeds on the quadratic.
Figures without one are computations; what roundings and finite samples leave
open of them, at most {SMOOTHING}, counts as their interval.</p>
{definitions()}
<h2>Does updating less often help by itself?</h2>
<p>{html.escape(answer(compared))}</p>
{comparison_table(compared)}
<h2>Claims</h2>{claim_table(claims)}
<h2>6.1: what the losses should be</h2>
<p>{html.escape(quadratic_text(tables["quadratic"]))}</p>
{quadratic_table(tables["quadratic"])}
<h2>6.3: the four rows over the link</h2>
<p>{html.escape(four_row_text(tables["link"]))}</p>
{four_row_table(tables["link"])}
<h2>Plots</h2>{"".join(image(name, path) for name, path in plots.items())}
</body></html>
"""
    (pathlib.Path(folder) / "index.html").write_text(text, encoding="utf-8")
