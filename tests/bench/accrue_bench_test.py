#!/usr/bin/env python3
"""accrue_bench's names and output, which scripts rely on: no figure is judged.

accrue_bench_test.py PATH-OF-ACCRUE_BENCH
"""

import json
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop(1)

NAMES = {
    "checkpoint/memory", "checkpoint/underload", "journal/push",
    "recovery/read",
    "cycle/adam/k4", "cycle/adam/k8", "fold/adam/j1", "fold/adam/j4",
    "fold/adam/j8", "fold/sgd/j1", "fold/sgd/j4", "fold/sgd/j8", "pull/tcp",
    "pull/uds", "push/tcp", "push/tcp/nofold", "push/tcp/one", "push/uds",
    "gather/adam/k4", "gather/adam/k8", "roundtrip/1KiB", "update/adam",
    "update/sgd"
}


# Where there is no GPU, they are skipped.
GPU_NAMES = {
    "gpu/cycle/adam/k4", "gpu/cycle/adam/k4/to_host", "gpu/cycle/adam/k8",
    "gpu/cycle/adam/k8/to_host", "gpu/fold/adam/j1", "gpu/fold/adam/j4",
    "gpu/fold/adam/j8", "gpu/fold/sgd/j1", "gpu/fold/sgd/j4",
    "gpu/fold/sgd/j8", "gpu/memory/adam", "gpu/memory/context",
    "gpu/memory/ring", "gpu/memory/sgd", "gpu/push", "gpu/push/slices",
    "gpu/update/adam", "gpu/update/sgd"
}


def run(*flags):
    return subprocess.run([PROGRAM, *flags], capture_output=True, text=True,
                          timeout=120)


class AccrueBenchTest(unittest.TestCase):

    def test_names_of_cases(self):
        listed = run("--list")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        names = {line.split()[0] for line in listed.stdout.splitlines()}
        self.assertEqual(names, NAMES | GPU_NAMES)

    def test_a_json_object_a_line(self):
        ran = run("--json", "--filter=^roundtrip", "--min_time=0.1")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        lines = ran.stdout.splitlines()
        self.assertEqual(len(lines), 1)
        case = json.loads(lines[0])
        self.assertEqual(set(case),
                         {"name", "value", "unit", "baseline", "ratio"})
        self.assertEqual(case["name"], "roundtrip/1KiB")
        # A latency: less is better, and in a ratio more is.
        self.assertAlmostEqual(case["ratio"], case["baseline"] / case["value"],
                               delta=1e-4 * case["ratio"])

    def test_a_filter_that_matches_nothing_is_an_error(self):
        ran = run("--filter=^nothing$")
        self.assertEqual(ran.returncode, 2)
        self.assertIn("--filter=^nothing$", ran.stderr)


if __name__ == "__main__":
    unittest.main()
