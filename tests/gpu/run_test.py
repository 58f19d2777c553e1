#!/usr/bin/env python3
"""run.sh, with scripts in the place of the programs: what it makes of them.

run_test.py FOLDER-OF-RUN.SH
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1))

TESTS = ["device_shard_conformance_test", "gpu_cuda_test",
         "device_kernels_test", "gpu_daemon_test"]
PASSES = "echo '[  PASSED  ] 3 tests.'"
SKIPS = """echo 'daemon_test.cc:1: Skipped'; echo 'no driver'
echo '[  PASSED  ] 1 test.'; echo '[  SKIPPED ] 2 tests.'"""
FAILS = "echo '[  FAILED  ] A.B'; exit 1"
BANNER = "echo '========= COMPUTE-SANITIZER'"
# Runs the program that stands behind its own options.
SANITIZER = BANNER + """
while [ "${1#*/}" = "$1" ]; do shift; done
"$@"
echo '========= ERROR SUMMARY: 0 errors'"""
OURS = [
    {"name": "gpu/cycle/adam/k4", "value": 160.0, "unit": "G"},
    {"name": "gpu/cycle/adam/k8", "value": 160.0, "unit": "G"},
    {"name": "gpu/fold/adam/j1", "value": 92.0, "unit": "GB/s",
     "baseline": 100.0, "ratio": 0.92},
    {"name": "gpu/memory/adam", "value": 12.001, "unit": "B/param",
     "baseline": 16.0, "ratio": 1.33},
    {"name": "gpu/memory/context", "value": 500.0, "unit": "MiB"},
    {"name": "gpu/memory/sgd", "value": 8.1, "unit": "B/param",
     "baseline": 12.0, "ratio": 1.48},
    {"name": "gpu/push", "value": 84.0, "unit": "GB/s", "baseline": 100.0,
     "ratio": 0.84},
    {"name": "gpu/push/slices", "value": 50.0, "unit": "GB/s",
     "baseline": 100.0, "ratio": 0.5},
    {"name": "gpu/update/sgd", "value": 84.0, "unit": "GB/s",
     "baseline": 100.0, "ratio": 0.84},
    {"name": "gpu/x", "skipped": "no driver: why"},
]
PYTORCHS = [
    {"name": "torch/cycle/adam/k4", "value": 100.0, "unit": "G",
     "set_to_none": True, "torch": "2.11"},
    {"name": "torch/cycle/adam/k8", "value": 100.0, "unit": "G",
     "set_to_none": False, "torch": "2.11"},
]


def print_all(figures):
    """Of a shell script."""
    lines = "\n".join(json.dumps(figure, separators=(",", ":"))
                      for figure in figures)
    return f"echo '{lines}'\n"


class SuiteTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.env = {}
        for part in ("run.sh", "judge_bench.awk", "torch_cycle.py"):
            shutil.copy(SOURCE / part, self.folder)
        self.script("bin/accrued", "exit 0")
        self.script("path/nvidia-smi", "echo 'H200, 580, 1 MiB'")
        for test in TESTS:
            self.script("bin/" + test, PASSES)

    def script(self, path, body):
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/sh\n" + body + "\n")
        file.chmod(0o755)

    def run_suite(self, only, *flags):
        """The exit status, and the table: name to (verdict, rest)."""
        path = f"{self.folder}/path:{os.environ['PATH']}"
        ran = subprocess.run(
            [self.folder / "run.sh", "--only=" + only, *flags,
             self.folder / "out"],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "PATH": path, **self.env})
        table = (self.folder / "out" / "table.txt").read_text()
        as_they_ended, _, at_the_end = ran.stdout.partition("\n\n")
        self.assertEqual(at_the_end, table, ran.stderr)
        lines = table.splitlines()
        self.assertCountEqual(as_they_ended.splitlines(), lines)
        rows = [line.split(maxsplit=2) for line in lines]
        return ran.returncode, {row[0]: tuple(row[1:]) for row in rows}


class StepsTest(SuiteTest):

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

    def test_a_filter_that_matches_nothing_is_a_failure(self):
        for test in ("gpu_daemon_test", "device_kernels_test"):
            self.script("bin/" + test, "echo '[  PASSED  ] 0 tests.'")
        self.script("path/compute-sanitizer", SANITIZER)
        status, table = self.run_suite("daemon,sanitizer")
        self.assertEqual(status, 1)
        for name in ("gpu_daemon_test", "initcheck/device_kernels_test"):
            self.assertEqual(table[name],
                             ("FAIL", "it has none of these tests"))

    def test_steps_run_at_the_same_time(self):
        met = self.folder / "met"
        for name in TESTS:
            self.script("bin/" + name, f"echo >>{met}\n"
                        f"until [ $(wc -l <{met}) -ge 10 ]; do :; done\n"
                        + PASSES)
        self.script("path/compute-sanitizer", SANITIZER)
        status, table = self.run_suite("conformance,device,daemon,sanitizer",
                                       "--seconds=30")
        self.assertEqual(status, 0, table)
        self.assertEqual(len(table), 1 + 10)

    def test_a_steps_row_is_there_when_it_has_ended(self):
        self.script("bin/gpu_daemon_test", "\n".join(
            f"until grep -q {test} {self.folder}/out/table.txt; do :; done"
            for test in TESTS[:3]) + "\n" + PASSES)
        status, table = self.run_suite("conformance,device,daemon",
                                       "--seconds=30")
        self.assertEqual(status, 0, table)
        self.assertEqual(list(table)[-1], "gpu_daemon_test")

    def test_what_a_step_says_is_kept(self):
        self.script("path/compute-sanitizer", SANITIZER)
        self.run_suite("device,sanitizer")
        for name in ("gpu_cuda_test", "memcheck-device_kernels_test"):
            log = (self.folder / "out/logs" / (name + ".log")).read_text()
            self.assertIn("PASSED", log)

    def interrupt(self, only, number, steps):
        """The exit status of a suite that got the signal amid its steps, and
        those of their processes that stay."""
        pids = self.folder / "pids"
        pids.unlink(missing_ok=True)
        busy = f"echo $$ >>{pids}; exec sleep 50"
        for test in TESTS + ["accrue_bench"]:
            self.script("bin/" + test,
                        f'[ "$1" = --list ] && echo gpu/x && exit\n{busy}')
        ran = subprocess.Popen(
            [self.folder / "run.sh", "--only=" + only, self.folder / "out"],
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
        self.addCleanup(ran.kill)
        while not (pids.exists()
                   and len(pids.read_text().splitlines()) == steps):
            self.assertIsNone(ran.poll())
        ran.send_signal(number)
        status = ran.wait(timeout=60)
        left = pids.read_text().split()
        deadline = time.monotonic() + 20
        while left and time.monotonic() < deadline:
            left = [pid for pid in left if os.path.exists("/proc/" + pid)]
        return status, left

    def test_interrupted_it_leaves_nothing_running(self):
        for only, steps in (("conformance,device,daemon", 4), ("bench", 1)):
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                with self.subTest(only=only, number=number):
                    self.assertEqual(self.interrupt(only, number, steps),
                                     (128 + number, []))

    def test_results_go_to_a_folder_of_its_own(self):
        ran = subprocess.run(
            [self.folder / "run.sh", "--only=daemon"], capture_output=True,
            timeout=60)
        self.assertEqual(ran.returncode, 0)
        self.assertEqual({file.name
                          for file in (self.folder / "results").iterdir()},
                         {"table.txt", "logs"})

    def test_an_older_librarys_machine_keeps_its_own_paths(self):
        self.env["LD_LIBRARY_PATH"] = "/users/own"
        self.script("bin/accrued", "exit 1")
        self.script("bin/gpu_daemon_test",
                    'echo "$LD_LIBRARY_PATH"\n' + PASSES)
        self.run_suite("daemon")
        log = (self.folder / "out/logs/gpu_daemon_test.log").read_text()
        self.assertIn(f"\n{self.folder}/lib/runtime:/users/own\n", log)

    def test_a_users_fake_gpu_is_not_tested(self):
        self.env["ACCRUE_FAKE_GPU_PROGRAM"] = "accrued_fake_gpus"
        self.script("bin/gpu_daemon_test",
                    '[ -z "${ACCRUE_FAKE_GPU_PROGRAM+set}" ] || exit 1\n'
                    + PASSES)
        self.assertEqual(self.run_suite("daemon")[0], 0)

    def test_at_the_suites_limit_steps_are_cut_off(self):
        self.script("bin/gpu_cuda_test", PASSES + "; exec sleep 50")
        self.script("bin/gpu_daemon_test", """
echo '[ RUN      ] A.B'; echo '[ RUN      ] C.D'; exec sleep 50""")
        self.script("path/compute-sanitizer", SANITIZER)
        status, table = self.run_suite("conformance,device,daemon,sanitizer",
                                       "--seconds=2")
        self.assertEqual(status, 1)
        self.assertEqual(table.pop("machine")[0], "info")
        for test, where in (("gpu_cuda_test", ""),
                            ("gpu_daemon_test", ", in C.D")):
            verdict, why = table.pop(test)
            self.assertEqual(verdict, "FAIL")
            self.assertRegex(why, "^not finished in [12] s, all that was left "
                                  f"of the suite's 2 s{where}$")
        self.assertEqual(len(table), 2 + 6)
        for verdict, _ in table.values():
            self.assertEqual(verdict, "pass")

    def test_after_the_suites_limit_steps_are_not_reached(self):
        self.script("bin/accrue_bench",
                    '[ "$1" = --list ] && echo gpu/x && exit\nexec sleep 50')
        status, table = self.run_suite("bench,conformance,sanitizer",
                                       "--seconds=1")
        self.assertEqual(status, 1)
        self.assertEqual(table["device_shard_conformance_test"], (
            "FAIL", "not reached within the suite's 1 s"))

    def test_a_step_that_says_nothing_has_failed(self):
        self.script("bin/gpu_cuda_test", "kill -9 $(cut -d ' ' -f 4 "
                    "/proc/$PPID/stat); " + PASSES)
        status, table = self.run_suite("device")
        self.assertEqual(status, 1)
        self.assertEqual(table["suite"], (
            "FAIL", "a step's shell has ended with status 137"))


class SanitizerTest(SuiteTest):

    def judge(self, body):
        """The exit status, and a tool's row."""
        self.script("path/compute-sanitizer", body)
        status, table = self.run_suite("sanitizer")
        return status, table["racecheck/device_kernels_test"]

    def test_it_is_silent(self):
        status, (verdict, what) = self.judge(SANITIZER)
        self.assertEqual((status, verdict), (0, "pass"))
        self.assertTrue(what.startswith("ERROR SUMMARY: 0 errors, 3 tests in"))

    def test_it_complains(self):
        self.assertEqual(
            self.judge(BANNER + """
echo '========= Invalid __global__ write of size 4 bytes'
echo '========= ERROR SUMMARY: 2 errors'; exit 86"""),
            (1, ("FAIL", "ERROR SUMMARY: 2 errors, exit status 86")))

    def test_a_warning_is_no_silence(self):
        self.assertEqual(self.judge(SANITIZER.replace(
            "ERROR SUMMARY: 0 errors",
            "RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)"))[0],
                         1)

    def test_its_refusal_of_the_device_is_quoted_and_no_failure(self):
        for body, why in (
                ("echo '========='; echo 'Note: a line of the test'; "
                 "echo '========= Error: Device not supported. See'; exit 1",
                 "Error: Device not supported. See"),
                ("echo '========= Device not supported'; "
                 "echo '========= ERROR SUMMARY: 3 errors'; exit 86",
                 "Device not supported")):
            with self.subTest(body):
                self.assertEqual(self.judge(f"{BANNER}; {body}"),
                                 (0, ("refused", why)))

    def test_without_a_summary_it_has_failed(self):
        for body, why in (
                ("echo 'cannot open libsanitizer.so' >&2; exit 1",
                 "no summary, exit status 1: cannot open libsanitizer.so"),
                (PASSES, "no summary, exit status 0: [  PASSED  ] 3 tests."),
                ("echo '========= Error: Target application terminated'; "
                 "exit 86", "no summary, exit status 86: "
                 "========= Error: Target application terminated")):
            with self.subTest(body):
                self.assertEqual(self.judge(f"{BANNER}; {body}"),
                                 (1, ("FAIL", why)))

    @unittest.skipIf(
        shutil.which("compute-sanitizer")
        or os.path.exists("/usr/local/cuda/bin/compute-sanitizer"),
        "this machine has one")
    def test_where_there_is_none_it_is_skipped(self):
        status, table = self.run_suite("sanitizer")
        self.assertEqual(status, 1)
        self.assertEqual(table["racecheck/device_kernels_test"],
                         ("skip", "there is no compute-sanitizer"))


class BenchTest(SuiteTest):

    def setUp(self):
        super().setUp()
        self.accrue_bench(OURS)
        self.script("path/python3", print_all(PYTORCHS))

    def accrue_bench(self, figures, **instead):
        """One that has these cases, some of which do something else."""
        names = " ".join(figure["name"] for figure in figures)
        cases = "".join(
            f"--filter=^{figure['name']}\\$)\n"
            f"{instead.get(figure['name'].split('/')[-1], print_all([figure]))}"
            "\n;;\n" for figure in figures)
        self.script("bin/accrue_bench", f"""
if [ "$1" = --list ]; then printf '%s  what it is\\n' {names}; exit; fi
case $2 in
{cases}*) exit 99 ;;
esac""")

    def bench(self, *flags):
        return self.run_suite("bench", *flags)

    def test_figures_are_judged_by_their_floors_and_aims(self):
        status, table = self.bench()
        self.assertEqual(status, 1)
        self.assertEqual({name: row[0] for name, row in table.items()}, {
            "machine": "info",
            "gpu/cycle/adam/k4": "info",
            "gpu/cycle/adam/k4/torch": "pass",    # 1.6 of 1.6
            "gpu/cycle/adam/k8": "info",
            "gpu/cycle/adam/k8/torch": "short",   # 1.6 of 2.0
            "gpu/fold/adam/j1": "pass",
            "gpu/memory/adam": "pass",
            "gpu/memory/context": "info",
            "gpu/memory/sgd": "below",
            "gpu/push": "short",
            "gpu/push/slices": "info",
            "gpu/update/sgd": "below",
            "gpu/x": "skip",
            "torch/cycle/adam/k4": "info",
            "torch/cycle/adam/k8": "info",
        })

    def test_memory_that_cannot_be_is_no_success(self):
        for name, value, verdict in (
                ("adam", 12.0, "pass"), ("adam", 12.07, "below"),
                ("adam", 11.999, "below"), ("adam", 0.0, "below"),
                ("sgd", 8.0, "pass"), ("sgd", 7.9, "below"),
                ("ring", 64.0, "info"), ("ring", 0.0, "FAIL"),
                ("context", -512.0, "FAIL")):
            with self.subTest(name=name, value=value):
                name = "gpu/memory/" + name
                self.accrue_bench([{"name": name, "value": value, "unit": "B",
                                    "baseline": 16.0, "ratio": 1.0}])
                self.assertEqual(self.bench()[1][name][0], verdict)

    def test_what_is_short_of_its_aim_only_is_no_failure(self):
        self.accrue_bench([figure for figure in OURS
                           if figure["name"].startswith(("gpu/c", "gpu/p"))])
        status, table = self.bench()
        self.assertEqual(status, 0)
        self.assertEqual(table["gpu/push"][0], "short")

    def test_an_accrue_bench_that_knows_no_gpu_is_a_failure(self):
        self.script("bin/accrue_bench", "echo 'no case' >&2; exit 2")
        status, table = self.bench()
        self.assertEqual(status, 1)
        self.assertEqual(table["bench"][0], "FAIL")
        self.assertEqual(table["gpu/cycle/adam/k4/torch"],
                         ("FAIL", "no figure of ours"))

    def test_a_case_that_fails_costs_no_other(self):
        self.accrue_bench(OURS[:3], k8="echo 'no memory' >&2; exit 1")
        status, table = self.bench()
        self.assertEqual(status, 1)
        self.assertEqual(table["gpu/cycle/adam/k8"],
                         ("FAIL", "exit status 1: no memory"))
        self.assertEqual(table["gpu/fold/adam/j1"][0], "pass")
        self.assertEqual(table["gpu/cycle/adam/k4/torch"][0], "pass")
        self.assertEqual(table["gpu/cycle/adam/k8/torch"],
                         ("FAIL", "no figure of ours"))

    def test_cases_are_cut_off_or_not_reached(self):
        self.accrue_bench(OURS[:3], k8="exec sleep 50")
        status, table = self.bench("--seconds=2")
        self.assertEqual(status, 1)
        self.assertEqual(table["gpu/cycle/adam/k4"][0], "info")
        self.assertIn("not finished", table["gpu/cycle/adam/k8"][1])
        self.assertIn("not reached", table["gpu/fold/adam/j1"][1])
        self.assertIn("not reached", table["torch"][1])

    def with_torch(self, source):
        """PyTorch's row, if this is its source; None: it is not there."""
        modules = self.folder / "modules"
        modules.mkdir(exist_ok=True)
        if source is not None:
            (modules / "torch.py").write_text(source)
        self.script("path/python3", f"PYTHONPATH={modules} "
                                    f'exec {sys.executable} -B -S "$@"')
        status, table = self.bench()
        self.assertEqual(status, 1)
        return table["torch"]

    def test_without_pytorch_cycles_are_not_compared(self):
        self.assertEqual(self.with_torch(None), (
            "skip", "no PyTorch: No module named 'torch'"))

    def test_a_pytorch_that_does_not_work_is_a_failure(self):
        for source, why in (
                ("import no_such_part", "No module named 'no_such_part'"),
                ("raise ImportError('libcudart: not found')",
                 "ImportError: libcudart: not found"),
                ("def full(*_, **__): raise RuntimeError('No CUDA GPUs')\n"
                 "import sys\nnn = sys.modules[__name__]\nParameter = None",
                 "RuntimeError: No CUDA GPUs")):
            with self.subTest(source):
                verdict, row = self.with_torch(source)
                self.assertEqual(verdict, "FAIL")
                self.assertTrue(row.startswith("exit status 1: "), row)
                self.assertTrue(row.endswith(why), row)

    def test_another_python_can_be_named(self):
        self.env["PYTHON"] = str(self.folder / "path/other")
        self.script("path/other", "echo 'no such thing' >&2; exit 3")
        self.assertEqual(self.bench()[1]["torch"], ("skip", "no such thing"))
        self.env["PYTHON"] = "no_such_python"
        self.assertEqual(self.bench()[1]["torch"][0], "FAIL")

    def test_a_figure_that_pytorch_has_not_given_is_a_failure(self):
        self.script("path/python3",
                    print_all(PYTORCHS[:1]) + "echo why >&2; exit 1")
        status, table = self.bench()
        self.assertEqual(status, 1)
        self.assertEqual(table["torch"], ("FAIL", "exit status 1: why"))
        self.assertEqual(table["gpu/cycle/adam/k4/torch"][0], "pass")
        self.assertEqual(table["gpu/cycle/adam/k8/torch"],
                         ("FAIL", "no figure of PyTorch"))


if __name__ == "__main__":
    unittest.main()
