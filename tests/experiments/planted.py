"""Planted measurements, and the path to the modules that judge them."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] /
                       "client/examples/experiments/report"))


def by_claim(claims):
    return {claim.claim: claim for claim in claims}


def rule_rows(**changes):
    """What the mathematics says, with changes by (measurement, method)."""
    rows = []

    def add(measurement, method, value, k=4, beta=0.9,
            scaling="conservative"):
        name = f"{measurement}_{method}"
        rows.append({"measurement": measurement, "method": method, "k": k,
                     "beta": beta, "scaling": scaling,
                     "value": changes.get(f"{name}_k{k}",
                                          changes.get(name, value))})

    for beta, k in ((0.9, 2), (0.9, 4), (0.9, 8), (0.9, 16), (0.9, 64),
                    (0.99, 4)):
        add("decay_error", "full", (1 - (1 - beta) / k)**k - beta, k, beta)
    for k in (2, 4, 8):
        add("difference", "full", 0.04, k)
    add("rate", "full", 0.5, scaling="sqrt")
    add("rate", "sparse_only", 0.25)
    add("rate", "sparse_only", 1, scaling="linear")
    add("second_moment", "accumulation", (0.1 + 1 / 4) / 1.1, beta=0.99)
    add("step_variance", "accumulation", 0.25)
    add("step_variance", "sparse_only", 1)
    for method, ratio in (("standard", 1), ("sparse_only", 0.25)):
        add("stationary_sharp", method, 0.0125 * ratio / 10)
        add("stationary_flat", method, 0.0125 * ratio)
    add("weight", "full", 0.975**3)
    add("weight", "accumulation", 1)
    add("moved", "sparse_only", 0)
    add("rate_in_noise", "sparse_only", 0.25)
    for method, seconds in (("accumulation", 1), ("full", 1)):
        for repetition in range(6):
            add("push_seconds", method, seconds * (1 + 0.01 * repetition))
    for optimizer, apart in (("sgd", 1e-7), ("adam", 0.44), ("adamw", 0.44),
                             ("corrected", 0.05), ("signum", 0),
                             ("lamb", 0.45)):
        add("classic_difference", optimizer, apart)
    add("refused", "lion", 1)
    for name, k in (("little", 2), ("much", 12), ("little_again", 2)):
        add("adaptive_k", name, k)
    batch = [{"method": method, "k": 4, "seed": seed,
              "difference": apart * (1 + 0.01 * seed)}
             for method, apart in (("accumulation", 1e-6), ("sparse_only", 0.4))
             for seed in (1, 2, 3)]
    return {"rule": rows, "batch": batch}


def link_tables(shaped):
    rows = []
    for method, k, local, encoding, pushed, sent, seconds, loss in (
            ("standard", 1, 0, "f32", 100, 100, 10, 0.9),
            ("beta_only", 4, 0, "f32", 100, 100, 10, 0.8),
            ("sparse_only", 4, 0, "f32", 100, 25, 9.3, 0.7),
            ("sparse_only", 4, 1, "f32", 25, 25, 4, 0.7),
            ("full", 4, 0, "f32", 100, 25, 9.3, 0.6),
            ("full", 4, 1, "f32", 25, 25, 4, 0.6),
            ("accumulation", 4, 1, "f32", 25, 25, 4, 0.7),
            ("accumulation", 4, 1, "bf16", 12, 25, 3, 0.7),
            ("accumulation", 4, 0, "topk", 20, 25, 4, 0.7),
            ("accumulation", 4, 1, "topk", 5, 25, 2, 0.7)):
        for seed in (1, 2, 3):
            # Pushes that come together update together.
            slower = 1 + 0.001 * seed * (1 + len(method) % 2)
            rows.append({
                "seed": seed, "method": method, "k": k, "local": local,
                "encoding": encoding, "micro_batches": 96,
                "updates": 96 if method in ("standard", "beta_only")
                           else 24,
                "received_bytes": pushed, "sent_bytes": sent,
                "link_out_bytes": pushed if shaped else 0,
                "link_in_bytes": sent if shaped else 0,
                "seconds": seconds * slower, "loss": loss * slower})
    # Without a link the standard method is as fast as sparse updating.
    loopback = [dict(row, seconds=1.0) for row in rows
                if row["method"] in ("standard", "sparse_only")]
    return {"link": rows, "loopback": loopback}


SEEDS = (1, 2, 3, 4)
SETTINGS = [f"{optimizer}/{name}"
            for optimizer in ("sgd", "adamw")
            for name in ("standard/x1", "standard/x0.25",
                         "beta_only/k4/conservative",
                         "sparse_only/k4/conservative", "sparse_only/k4/linear",
                         "full/k4/conservative", "full/k4/linear")
            ] + ["sgd/undamped"] + [f"sgd/accumulation/k{k}/{scaling}"
                                    for k in (4, 8)
                                    for scaling in ("conservative", "linear")
            ] + [f"sgd/{name}" for name in
                 ("f16", "clip/norm", "clip/push_norm", "cosine/updates",
                  "cosine/pushes", "adaptive", "deep/k2", "deep/k4",
                  "deep/own_k")]


def noise_rows(signal):
    """`signal`: mu^2 by (part, layer); sigma^2 is 1."""
    return [{"setting": setting, "seed": seed, "push": push, "group": group,
             "k": 4, "variance": 1.0, "noise_left": 0.1,
             "mean_squared": signal.get(
                 (("early" if push <= 120 else "late"), group),
                 0.01) * (1 + 0.01 * seed)}
            for setting, groups in (
                ("sgd/accumulation/k4/linear", ("all",)),
                ("sgd/adaptive", ("all",)),
                ("sgd/deep/k4", ("layer1", "layer2", "layer3", "layer4")),
                ("sgd/deep/own_k", ("all.k4", "all.k2")))
            for group in groups for seed in SEEDS
            for push in range(60, 1201, 60)]


def image_tables(accuracy=None, swing=None, diverged=(), buffer_bytes=0,
                 held_out=None, eigenvalue=None, signal=None):
    """All settings alike at 80 % but for those named; a seed moves all of them
    by as much, and each by a little of its own. A run that diverged has half
    the losses."""
    runs, losses = [], []
    for setting in SETTINGS:
        for seed in SEEDS:
            runs.append({
                "setting": setting, "seed": seed,
                "diverged": int((setting, seed) in diverged or
                                setting in diverged),
                "train_accuracy": 0.9 + 0.01 * seed,
                "held_out_accuracy": (held_out or {}).get(setting, 0.8),
                "underflow": 0.01 * seed,
                "largest_eigenvalue": (eigenvalue or {}).get(setting, 10) *
                                      (1 + 0.01 * seed * len(setting)),
                "loss_rise": 0.01 + 0.001 * (len(setting) % 3) * (-1)**seed,
                "accumulation_buffer_bytes": buffer_bytes,
                "test_accuracy": (accuracy or {}).get(setting, 0.8) +
                                 0.01 * seed +
                                 0.0005 * (len(setting) % 3) * (-1)**seed})
            for window in range(1, 7 if runs[-1]["diverged"] else 13):
                reach = (swing or {}).get(setting, 0.01)
                losses.append({"setting": setting, "seed": seed,
                               "push": 100 * window,
                               "loss": 0.5 + 0.01 * seed +
                                       reach * (-1)**window})
    return {"images": runs, "images_loss": losses,
            "images_noise": noise_rows(signal or {}), **rule_rows(),
            "link": link_tables(False)["link"]}
