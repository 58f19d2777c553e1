"""Plots: one file an experiment, beside its tables."""

import pathlib

import matplotlib

matplotlib.use("Agg")  # no display
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from estimates import estimate  # noqa: E402
from image_runs import ImageRuns, mean_and_spread  # noqa: E402
from link_claims import (bytes_of, pushed_bytes_of, runs_of,  # noqa: E402
                         was_shaped)
from proposal_claims import variation  # noqa: E402
from tables import select  # noqa: E402

METHODS = {"standard": "tab:blue", "beta_only": "tab:orange",
           "sparse_only": "tab:red", "accumulation": "tab:green",
           "full": "tab:purple"}
SCALINGS = ("conservative", "sqrt", "linear")


def draw_decays(tables, figure):
    left, right = figure.subplots(1, 2)
    rows = select(tables["rule"], measurement="decay_error", beta=0.9)
    for method, color in (("full", "tab:purple"), ("full_exact", "tab:gray")):
        found = select(rows, method=method)
        left.plot([row["k"] for row in found], [row["value"] for row in found],
                  "o-", color=color,
                  label={"full": "B = 1-(1-b)/k", "full_exact": "B = b^(1/k)"}[
                      method])
    left.plot([2, 4, 8], [0.0025, 0.001, 0.0003], "kx--",
              label="the article's table")
    left.set(xlabel="k", ylabel="B^k - b at b = 0.9",
             title="4.1: the error of the slid decay")
    left.legend()
    for method in ("accumulation", "sparse_only", "full"):
        found = select(tables["rule"], measurement="step_variance",
                       method=method)
        right.plot([row["k"] for row in found],
                   [row["value"] for row in found], "o-",
                   color=METHODS[method], label=method)
    right.plot([2, 4, 8], [1 / 2, 1 / 4, 1 / 8], "kx--", label="1/k (eq. 39)")
    right.set(ylabel="of the standard step's variance", xlabel="k",
              title="5.2: variance of a step under pure noise")
    right.legend()
    for axis, ks in ((left, (2, 4, 8, 16, 64)), (right, (2, 4, 8))):
        axis.set_xscale("log", base=2)
        axis.set_xticks(ks, [str(k) for k in ks])


def draw_quadratic(tables, figure):
    paths, losses = figure.subplots(1, 2)
    grid = np.linspace(-5.5, 5.5, 80)
    sharp, flat = np.meshgrid(grid, grid)
    paths.contour(sharp, flat, (10 * sharp**2 + flat**2) / 2, levels=18,
                  alpha=0.25)
    for method, color in METHODS.items():
        rows = select(tables["quadratic"], method=method)
        paths.plot([row["theta1"] for row in rows],
                   [row["theta2"] for row in rows], color=color, linewidth=1,
                   label=method)
        loss = np.array([row["loss"] for row in rows])
        error = np.array([row["loss_error"] for row in rows])
        losses.semilogy(loss, color=color, label=method)
        losses.fill_between(range(len(loss)), loss - 2 * error,
                            loss + 2 * error, color=color, alpha=0.25)
    paths.set(xlabel="theta 1", ylabel="theta 2",
              title="6.1: one seed's path (k = 4)")
    losses.set(xlabel="push", ylabel="loss",
               title="mean of 400 seeds, two standard errors")
    losses.legend()


def draw_losses(tables, figure):
    runs = ImageRuns(tables)
    axes = figure.subplots(1, 2)
    for axis, title, settings in (
            (axes[0], "6.2: sgd, equal effective rates",
             ("sgd/standard/x1", "sgd/accumulation/k4/linear",
              "sgd/accumulation/k8/linear")),
            (axes[1], "6.3: adamw, same learning rate",
             ("adamw/standard/x1", "adamw/beta_only/k4/conservative",
              "adamw/sparse_only/k4/conservative",
              "adamw/full/k4/conservative"))):
        for setting in settings:
            mean, spread = map(np.array, mean_and_spread(
                [runs.windows(setting, seed) for seed in runs.seeds(setting)]))
            pushes = 100 * np.arange(1, len(mean) + 1)
            line, = axis.plot(pushes, mean, label=setting)
            axis.fill_between(pushes, mean - spread, mean + spread,
                              color=line.get_color(), alpha=0.15)
        axis.set(xlabel="push (16 images each)",
                 ylabel="loss, mean of 100 pushes", title=title)
        axis.legend(fontsize=8)


def draw_accuracies(tables, figure):
    runs = ImageRuns(tables)
    for axis, optimizer in zip(figure.subplots(1, 2), ("sgd", "adamw")):
        names = [name for name in runs.settings(optimizer + "/")
                 if name.split("/")[1] in METHODS]
        for row, name in enumerate(reversed(names)):
            found = estimate(runs.accuracy(name).values())
            method = name.split("/")[1]
            axis.errorbar(found.value, row, xerr=found.half_width, fmt="o",
                          capsize=3, color=METHODS[method])
        axis.set_yticks(range(len(names)),
                        [name.split("/", 1)[1] for name in reversed(names)],
                        fontsize=8)
        middle = np.median([estimate(runs.accuracy(name).values()).value
                            for name in names])
        axis.set_xlim(middle - 4, middle + 4)
        axis.grid(axis="x", alpha=0.3)
        axis.set(xlabel="test accuracy, %", title=f"5.1, 7.1: {optimizer}, "
                 "95 % intervals")


def draw_flatness(tables, figure):
    runs = ImageRuns(tables)
    settings = [name for name in runs.settings("sgd/")
                if any(runs.of_runs(name, "largest_eigenvalue").values())]
    for axis, label, of in zip(
            figure.subplots(1, 3),
            ("largest eigenvalue of the Hessian", "rise of the loss",
             "training less test accuracy, points"),
            (lambda name: runs.of_runs(name, "largest_eigenvalue"),
             lambda name: runs.of_runs(name, "loss_rise"), runs.gap)):
        for row, name in enumerate(reversed(settings)):
            found = estimate(of(name).values())
            axis.errorbar(found.value, row, xerr=found.half_width, fmt="o",
                          capsize=3, color=METHODS[name.split("/")[1]])
        shown = [name.split("/", 1)[1] for name in reversed(settings)]
        axis.set_yticks(range(len(settings)), shown, fontsize=7)
        axis.grid(axis="x", alpha=0.3)
        axis.set(xlabel=label)
    figure.suptitle("5.2, theorem 1: flatness, 95 % intervals")


def draw_noise(tables, figure):
    layers, ks = figure.subplots(1, 2)
    rows = select(tables["images_noise"], setting="sgd/deep/k4")
    for layer in sorted({row["group"] for row in rows}):
        draw_by_push(layers, [row for row in rows if row["group"] == layer],
                     variation, layer)
    layers.set(xlabel="push", ylabel="sigma/mu", yscale="log",
               title="8.3: noise by layer, k = 4")
    layers.legend(fontsize=8)
    rows = select(tables["images_noise"], setting="sgd/adaptive")
    for seed in sorted({row["seed"] for row in rows}):
        draw_by_push(ks, [row for row in rows if row["seed"] == seed],
                     lambda at: at[0]["k"], f"seed {seed:.0f}")
    ks.set(xlabel="push", ylabel="k", title="8.3: adaptive k")


def draw_by_push(axis, rows, of, label, window=250):
    """Over a window of pushes at a time."""
    by_window = {}
    for row in rows:
        by_window.setdefault(row["push"] // window, []).append(row)
    axis.plot([window * (place + 0.5) for place in sorted(by_window)],
              [of(by_window[place]) for place in sorted(by_window)],
              label=label)


def draw_link(tables, figure):
    rows = tables["link"]
    traffic, time, encodings = figure.subplots(1, 3)
    ks = (1, 2, 4, 8)
    width = 0.38
    for local, color in ((0, "tab:blue"), (1, "tab:green")):
        label = "local accumulation" if local else "every gradient pushed"
        for axis, of in ((traffic, lambda row: bytes_of(row) / 1e6),
                         (time, lambda row: row["seconds"])):
            heights, errors = [], []
            for k in ks:
                found = [of(row) for row in
                         (runs_of(rows, "accumulation", k, local) if k > 1 else
                          runs_of(rows, "standard", 1, 0))]
                heights.append(np.mean(found))
                errors.append(np.std(found))
            axis.bar(np.arange(len(ks)) + (local - 0.5) * width, heights, width,
                     yerr=errors, color=color, label=label)
    for axis in (traffic, time):
        axis.set_xticks(range(len(ks)), [f"k = {k}" for k in ks])
    traffic.set(ylabel="MB, both ways", title="6.3: bytes for equal samples")
    traffic.legend()
    where = "at 1 Gbit/s" if was_shaped(rows) else "on the loopback, unshaped"
    time.set(ylabel="seconds", title=f"wall clock {where}")
    names = ("f32", "bf16", "int8", "topk")
    encodings.bar(names, [
        np.mean([pushed_bytes_of(row) / 1e6
                 for row in runs_of(rows, "accumulation", 4, 1, name)])
        for name in names], color="tab:green")
    encodings.set(ylabel="MB pushed", title="8.3: k = 4, local, by encoding")


PLOTS = (("decays", draw_decays, 4.2), ("quadratic", draw_quadratic, 4.6),
         ("losses", draw_losses, 4.6), ("accuracies", draw_accuracies, 5.2),
         ("flatness", draw_flatness, 3.6), ("noise", draw_noise, 4.2),
         ("link", draw_link, 4.2))


def draw_all(folder, tables):
    """Writes all; returns {name: path}."""
    paths = {}
    for name, draw, height in PLOTS:
        figure = plt.figure(figsize=(11, height), layout="constrained")
        draw(tables, figure)
        paths[name] = pathlib.Path(folder) / f"{name}.png"
        figure.savefig(paths[name], dpi=100)
        plt.close(figure)
    return paths
