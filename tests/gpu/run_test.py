#!/usr/bin/env python3
"""run.sh, with scripts in the place of the programs: what it makes of them.

run_test.py FOLDER-OF-RUN.SH
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1))

TESTS = ["device_shard_conformance_test", "gpu_cuda_test",
         "device_kernels_test", "gpu_daemon_test"]
PASSES = "echo '[  PASSED  ] 3 tests.'"
SKIPS = """echo 'daemon_test.cc:1: Skipped'; echo 'no driver'
echo '[  PASSED  ] 1 test.'; echo '[  SKIPPED ] 2 tests.'"""
FAILS = "echo '[  FAILED  ] A.B'; exit 1"
SANITIZER = """shift 4
"$@"
echo '========= ERROR SUMMARY: 0 errors'"""
FIGURES = [
    {"name": "gpu/cycle/adam/k4", "value": 160.0, "unit": "G"},
    {"name": "gpu/cycle/adam/k8", "value": 160.0, "unit": "G"},
    {"name": "gpu/fold/adam/j1", "value": 92.0, "unit": "GB/s",
     "baseline": 100.0, "ratio": 0.92},
    {"name": "gpu/memory/adam", "value": 12.001, "unit": "B/param",
     "baseline": 16.0, "ratio": 1.33},
    {"name": "gpu/memory/sgd", "value": 8.1, "unit": "B/param",
     "baseline": 12.0, "ratio": 1.48},
    {"name": "gpu/push", "value": 84.0, "unit": "GB/s", "baseline": 100.0,
     "ratio": 0.84},
    {"name": "gpu/update/sgd", "value": 84.0, "unit": "GB/s",
     "baseline": 100.0, "ratio": 0.84},
    {"name": "gpu/x", "skipped": "no driver: why"},
    {"name": "torch/cycle/adam/k4", "value": 100.0, "unit": "G",
     "set_to_none": True, "torch": "2.11"},
    {"name": "torch/cycle/adam/k8", "value": 100.0, "unit": "G",
     "set_to_none": False, "torch": "2.11"},
]


class RunTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for part in ("run.sh", "judge_bench.awk"):
            shutil.copy(SOURCE / part, self.folder)
        self.script("bin/accrued", "exit 0")
        self.script("path/nvidia-smi", "echo 'H200, 580, 1 MiB'")
        self.script("path/python3", "exit 1")
        for test in TESTS:
            self.script("bin/" + test, PASSES)

    def script(self, path, body):
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/sh\n" + body + "\n")
        file.chmod(0o755)

    def run_suite(self, only):
        """The exit status, and the table: name to (verdict, rest)."""
        path = f"{self.folder}/path:{os.environ['PATH']}"
        ran = subprocess.run(
            [self.folder / "run.sh", "--only=" + only, self.folder / "out"],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "PATH": path})
        table = (self.folder / "out" / "table.txt").read_text()
        self.assertTrue(ran.stdout.endswith(table), ran.stdout)
        rows = [line.split(maxsplit=2) for line in table.splitlines()]
        return ran.returncode, {row[0]: tuple(row[1:]) for row in rows}

    def test_says_which_machine_it_was(self):
        status, table = self.run_suite("device")
        self.assertEqual(status, 0)
        self.assertIn("H200", table["machine"][1])

    def test_sections_that_pass(self):
        status, table = self.run_suite("conformance,device,daemon")
        self.assertEqual(status, 0)
        self.assertEqual({name for name in table if name != "machine"},
                         set(TESTS))
        for test in TESTS:
            self.assertEqual(table[test][0], "pass")

    def test_what_fails_or_is_skipped_stops_nothing(self):
        self.script("bin/gpu_cuda_test", FAILS)
        self.script("bin/device_kernels_test", SKIPS)
        (self.folder / "bin/device_shard_conformance_test").unlink()
        status, table = self.run_suite("conformance,device,daemon")
        self.assertEqual(status, 1)
        self.assertEqual(table["gpu_cuda_test"],
                         ("FAIL", "exit status 1: [  FAILED  ] A.B"))
        self.assertEqual(table["device_kernels_test"],
                         ("skip", "2 of its tests: no driver"))
        self.assertEqual(table["device_shard_conformance_test"][0], "FAIL")
        self.assertEqual(table["gpu_daemon_test"][0], "pass")

    def test_a_test_that_is_skipped_is_no_success(self):
        self.script("bin/gpu_daemon_test", SKIPS)
        self.assertEqual(self.run_suite("daemon")[0], 1)

    def test_a_filter_that_matches_nothing_is_no_success(self):
        self.script("bin/gpu_daemon_test", "echo '[  PASSED  ] 0 tests.'")
        self.assertEqual(self.run_suite("daemon")[0], 1)

    def test_the_sanitizer_is_silent_complains_or_refuses(self):
        self.script("path/compute-sanitizer", SANITIZER)
        status, table = self.run_suite("sanitizer")
        self.assertEqual(status, 0)
        self.assertEqual(table["racecheck/device_kernels_test"],
                         ("pass", "ERROR SUMMARY: 0 errors"))

        self.script("path/compute-sanitizer",
                    "echo '========= ERROR SUMMARY: 2 errors'; exit 86")
        status, table = self.run_suite("sanitizer")
        self.assertEqual(status, 1)
        self.assertEqual(table["memcheck/device_kernels_test"],
                         ("FAIL", "ERROR SUMMARY: 2 errors, exit status 86"))

        self.script("path/compute-sanitizer", SANITIZER.replace(
            "ERROR SUMMARY: 0 errors",
            "RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)"))
        status, table = self.run_suite("sanitizer")
        self.assertEqual(status, 1)
        self.assertEqual(table["racecheck/device_kernels_test"][0], "FAIL")

        self.script("path/compute-sanitizer",
                    "echo '========= Device not supported'; exit 1")
        status, table = self.run_suite("sanitizer")
        self.assertEqual(status, 0)
        self.assertEqual(table["memcheck/device_kernels_test"],
                         ("refused", "========= Device not supported"))

    def bench(self, figures):
        lines = "\n".join(json.dumps(figure, separators=(",", ":"))
                          for figure in figures)
        self.script("bin/accrue_bench", f"cat <<'END'\n{lines}\nEND")
        return self.run_suite("bench")

    def test_figures_are_judged_by_their_floors_and_aims(self):
        status, table = self.bench(FIGURES)
        self.assertEqual(status, 1)
        self.assertEqual({name: row[0] for name, row in table.items()}, {
            "machine": "info",
            "gpu/cycle/adam/k4": "info",
            "gpu/cycle/adam/k4/torch": "pass",    # 1.6 of 1.6
            "gpu/cycle/adam/k8": "info",
            "gpu/cycle/adam/k8/torch": "short",   # 1.6 of 2.0
            "gpu/fold/adam/j1": "pass",
            "gpu/memory/adam": "pass",
            "gpu/memory/sgd": "below",
            "gpu/push": "short",
            "gpu/update/sgd": "below",
            "gpu/x": "skip",
            "torch/cycle/adam/k4": "info",
            "torch/cycle/adam/k8": "info",
        })

    def test_what_is_short_of_its_aim_only_is_no_failure(self):
        short = [figure for figure in FIGURES if figure["name"] == "gpu/push"]
        self.assertEqual(self.bench(short)[0], 0)

    def test_without_pytorch_cycles_are_not_compared(self):
        status, table = self.bench(FIGURES[:1])
        self.assertEqual(status, 1)
        self.assertEqual(table["gpu/cycle/adam/k4/torch"],
                         ("skip", "no PyTorch"))

    def test_a_benchmark_that_ends_early_keeps_its_figures(self):
        line = json.dumps(FIGURES[2], separators=(",", ":"))
        self.script("bin/accrue_bench",
                    f"echo '{line}'; echo 'no memory' >&2; exit 1")
        status, table = self.run_suite("bench")
        self.assertEqual(status, 1)
        self.assertEqual(table["bench"], ("FAIL", "exit status 1: no memory"))
        self.assertEqual(table["gpu/fold/adam/j1"][0], "pass")


if __name__ == "__main__":
    unittest.main()
