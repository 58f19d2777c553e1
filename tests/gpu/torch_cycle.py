#!/usr/bin/env python3
"""Cycles of AdamW in PyTorch, on gradients that the GPU holds already.

What `accrue_bench --filter=^gpu/cycle` is compared with: k gradients accumulate
in `.grad`, as autograd does it, and the fused AdamW steps. A cycle begins either
with set_to_none=True, where the first gradient becomes `.grad` and moves no byte,
or with zeros; the faster of the two counts.

    torch_cycle.py [--elems=N] [--seconds=S] [--device=cuda]

Prints one JSON object a line: name, value, unit, and which way was faster. Exit
status: 3 if there is no PyTorch; what is there and does not work is an error.
"""

import argparse
import json
import statistics
import sys
import time

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    print("no PyTorch:", error, file=sys.stderr)
    sys.exit(3)

CYCLES = 10  # in a run, so that waiting for the last is a small part of it
MIN_RUNS = 5
WARM_UPS = 3


class Training:

    def __init__(self, elems, k, device):
        self.parameter = torch.nn.Parameter(torch.full((elems,), 1e-3,
                                                       device=device))
        self.gradients = [torch.full((elems,), 1e-3 * (1 + i), device=device)
                          for i in range(k)]
        self.optimizer = torch.optim.AdamW([self.parameter], lr=1e-6,
                                           fused=True)

    def cycle(self, set_to_none):
        self.optimizer.zero_grad(set_to_none=set_to_none)
        for gradient in self.gradients:
            if self.parameter.grad is None:
                self.parameter.grad = gradient
            else:
                self.parameter.grad += gradient
        self.optimizer.step()


def seconds_of_run(training, set_to_none, device):
    start = time.perf_counter()
    for _ in range(CYCLES):
        training.cycle(set_to_none)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def median_seconds(training, set_to_none, min_seconds, device):
    # Zeros accumulate in a tensor of their own, and not in the first gradient.
    training.parameter.grad = (None if set_to_none else
                               torch.zeros_like(training.parameter))
    for _ in range(WARM_UPS):
        seconds_of_run(training, set_to_none, device)
    runs = []
    while sum(runs) < min_seconds or len(runs) < MIN_RUNS:
        runs.append(seconds_of_run(training, set_to_none, device))
    return statistics.median(runs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--elems", type=int, default=256 << 20)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--device", default="cuda")
    flags = parser.parse_args()
    for k in (4, 8):
        training = Training(flags.elems, k, flags.device)
        seconds, set_to_none = min(
            (median_seconds(training, way, flags.seconds, flags.device), way)
            for way in (True, False))
        print(json.dumps({
            "name": f"torch/cycle/adam/k{k}",
            "value": CYCLES * k * flags.elems / 1e9 / seconds,
            "unit": "Gparams*pushes/s",
            "set_to_none": set_to_none,
            "torch": torch.__version__,
        }, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    main()
