#!/usr/bin/env python3
"""The GPU suite as it is packed, on a machine where it finds no GPU.

suite_test.py CMAKE SOURCE-FOLDER BUILD-FOLDER BENCH-ON-A-FAKE-GPU PROGRAM...
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

CMAKE, SOURCE, BUILD, FAKE_BENCH, *PROGRAMS = sys.argv[1:]
del sys.argv[1:]

PYTHON_WITHOUT_TORCH = "echo none >&2; exit 3"
PYTORCH = "\n".join(
    "echo '" + json.dumps({"name": f"torch/cycle/adam/k{k}", "value": 1.0},
                          separators=(",", ":")) + "'" for k in (4, 8))
SANITIZER = """while [ "${1#*/}" = "$1" ]; do shift; done
"$@"
echo '========= ERROR SUMMARY: 0 errors'"""
# What the table says of without a floor.
WITHOUT_FLOOR = {
    "gpu/cycle/adam/k4", "gpu/cycle/adam/k4/to_host", "gpu/cycle/adam/k8",
    "gpu/cycle/adam/k8/to_host", "gpu/memory/ring", "gpu/push/slices",
    "torch/cycle/adam/k4", "torch/cycle/adam/k8", "machine"
}
TESTS = {"device_shard_conformance_test", "gpu_cuda_test",
         "device_kernels_test", "gpu_daemon_test"}
SANITIZED = {f"{tool}/{test}"
             for tool in ("memcheck", "racecheck", "initcheck")
             for test in ("device_kernels_test",
                          "device_shard_conformance_test")}


def names(paths):
    return {pathlib.Path(path).name for path in paths}


class PackedSuiteTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.suite = cls.folder / "suite"
        subprocess.run([f"{SOURCE}/tests/gpu/pack.sh", cls.suite, *PROGRAMS],
                       check=True)

    def script(self, name, body):
        file = self.folder / "path" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/sh\n" + body + "\n")
        file.chmod(0o755)
        return str(file)

    def run_suite(self, suite, only, python):
        """The exit status, and the table: name to (verdict, rest)."""
        self.script("compute-sanitizer", SANITIZER)
        python = self.script("stub_python", python)
        ran = subprocess.run(
            [suite / "run.sh", "--only=" + only, self.folder / "out"],
            capture_output=True, text=True, timeout=200,
            env={"PATH": f"{self.folder}/path:{os.environ['PATH']}",
                 "CUDA_VISIBLE_DEVICES": "", "PYTHON": python})
        table = (self.folder / "out" / "table.txt").read_text()
        print(table, ran.stderr)
        rows = [line.split(maxsplit=2) for line in table.splitlines()]
        return ran.returncode, {row[0]: tuple(row[1:]) for row in rows}

    def test_without_a_gpu_every_program_says_so(self):
        status, table = self.run_suite(
            self.suite, "bench,conformance,device,daemon,sanitizer",
            PYTHON_WITHOUT_TORCH)
        self.assertEqual(status, 1)
        self.assertEqual(table.pop("machine")[0], "info")
        self.assertEqual(table.pop("torch"), ("skip", "none"))
        cases = {name for name in table if name.startswith("gpu/")}
        self.assertGreaterEqual(len(cases), 18)
        self.assertEqual(set(table) - cases, TESTS | SANITIZED)
        for name, (verdict, why) in table.items():
            self.assertEqual(verdict, "skip", f"{name}: {why}")
            self.assertIn("CUDA", why, name)

    def test_every_figure_that_has_an_aim_is_judged(self):
        suite = shutil.copytree(self.suite, self.folder / "fake")
        shutil.copy(FAKE_BENCH, suite / "bin/accrue_bench")
        table = self.run_suite(suite, "bench", PYTORCH)[1]
        for name, (verdict, what) in table.items():
            if name == "gpu/memory/context":  # a fake GPU takes none
                self.assertEqual(verdict, "FAIL", what)
            elif name in WITHOUT_FLOOR:
                self.assertEqual(verdict, "info", f"{name}: {what}")
            else:
                self.assertIn(verdict, ("pass", "short", "below"),
                              f"{name}: {what}")
        for of in ("adam", "sgd"):
            self.assertEqual(table[f"gpu/memory/{of}"][0], "pass")
        self.assertIn("gpu/cycle/adam/k8/torch", table)


class PresetTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = f"{BUILD}/gpu_preset"
        subprocess.run(
            [CMAKE, "--preset", "gpu", "-S", SOURCE, "-B", cls.folder],
            check=True, stdout=subprocess.DEVNULL, cwd=SOURCE)
        cls.commands = subprocess.run(
            ["ninja", "-C", cls.folder, "-t", "commands", "gpu_suite"],
            check=True, capture_output=True, text=True).stdout.splitlines()

    def test_it_packs_the_same_programs(self):
        words = self.commands[-1].split()
        packed = words[words.index(f"{self.folder}/suite") + 1:]
        self.assertEqual(names(packed), names(PROGRAMS))

    def test_kernels_are_compiled_for_a100_h100_and_whatever_comes(self):
        compiled = [command for command in self.commands
                    if re.search(r"\.cu -o ", command)]
        self.assertTrue(compiled)
        for command in compiled:
            code = re.findall(r"--generate-code=arch=(\S+)", command)
            self.assertEqual(code, ["compute_80,code=[compute_80,sm_80]",
                                    "compute_90,code=[sm_90]"])


if __name__ == "__main__":
    unittest.main()
