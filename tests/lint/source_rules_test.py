#!/usr/bin/env python3
"""Plants violations in a small tree and checks that each is found."""

import pathlib
import tempfile
import unittest

import source_rules


def header(guard, body=""):
    return f"#ifndef {guard}\n#define {guard}\n{body}\n#endif  // {guard}\n"


# A tree without fault.
CLEAN = {
    ".ci/run": "", ".clang-format": "", ".clang-tidy": "", ".gitignore": "",
    "CMakeLists.txt": "", "CMakePresets.json": "{}", "LICENSE": "",
    "README.md": "", "deploy/test.sh": "", "proto/accrue/v1/model.proto": "",
    "server/rule/cycle.h": header("ACCRUE_SERVER_RULE_CYCLE_H_",
                                  "#include <cmath>"),
    "server/base/mutex.h": header(
        "ACCRUE_SERVER_BASE_MUTEX_H_",
        '#include <sys/random.h>\n#include "absl/time/time.h"'),
    "server/kernels/fold.cc": (
        '#include <hwy/highway.h>\n#include "server/rule/cycle.h"\n'),
    "server/service/push.cc": (
        '#include <grpcpp/grpcpp.h>\n#include "accrue/v1/model.pb.h"\n'
        '#include "server/ingest/ingest.h"\n'),
    "server/main.cc": '#include <CLI/CLI.hpp>\n#include "server/ops/http.h"\n',
    "client/cpp/include/accrue/client.h": header(
        "ACCRUE_CLIENT_CLIENT_H_",
        '#include "absl/time/time.h"\n#include "accrue/model.h"'),
    "client/cpp/src/client.cc": (
        '#include <grpcpp/grpcpp.h>\n#include "accrue/client.h"\n'),
    "tests/base/mutex_test.cc": '#include "gtest/gtest.h"\n',
}


class SourceRulesTest(unittest.TestCase):

    def violations(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**CLEAN, **changes}.items():
                if text is None:
                    continue
                path = pathlib.Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(source_rules.violations(root))

    def expect(self, name, text, why):
        """The one violation of this tree is in `name`, and says `why`."""
        found = self.violations({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(name), found)
        self.assertIn(why, found[0])

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.violations({}), [])

    def test_rule_uses_the_standard_library_only(self):
        for include in ('"absl/status/status.h"', "<absl/status/status.h>",
                        '"server/base/mutex.h"', "<unistd.h>", "<math.h>",
                        "<hwy/highway.h>"):
            self.expect("server/rule/extra.cc", f"#include {include}\n",
                        "server/rule")

    def test_no_layer_includes_a_higher_one(self):
        order = list(source_rules.LAYERS)
        for low_index, low in enumerate(order):
            for high in order[low_index + 1:]:
                if high in source_rules.LAYERS[low][0]:
                    continue
                self.expect(f"{low}/extra.cc", f'#include "{high}/x.h"\n',
                            f"{low} must not include {high}/x.h")

    def test_the_table_allows_nothing_higher(self):
        # Rule, base and device are beside each other: order says nothing there.
        order = list(source_rules.LAYERS)
        for layer, (folders, _) in source_rules.LAYERS.items():
            for folder in folders:
                if folder in order:
                    self.assertNotEqual(layer, folder)
                    self.assertNotIn(layer, source_rules.LAYERS[folder][0])

    def test_grpc_and_protobuf_stay_in_service(self):
        for layer in source_rules.LAYERS:
            if layer == "server/service":
                continue
            for include in ("<grpcpp/grpcpp.h>", "<google/protobuf/message.h>",
                            "<grpc/grpc.h>", '"accrue/v1/model.pb.h"'):
                self.expect(f"{layer}/extra.cc", f"#include {include}\n", layer)

    def test_spdlog_stays_in_base(self):
        self.expect("server/model/extra.cc", "#include <spdlog/spdlog.h>\n",
                    "must not use spdlog")

    def test_prometheus_stays_in_ops(self):
        include = "#include <prometheus/exposer.h>\n"
        self.expect("server/service/extra.cc", include,
                    "must not use prometheus")
        self.assertEqual(self.violations({"server/ops/extra.cc": include}), [])

    def test_cuda_stays_in_its_own_files(self):
        include = "#include <cuda_runtime.h>\n"
        self.expect("server/device/memory.cc", include, "CUDA belongs in")
        self.expect("server/model/memory_cuda.cc", include, "must not use cuda")
        self.assertEqual(self.violations({"server/kernels/fold.cu": include}), [])
        self.assertEqual(
            self.violations({"server/device/memory_cuda.cc": include}), [])

    def test_an_unknown_folder_of_the_server_is_found(self):
        self.expect("server/misc/extra.cc", '#include "server/base/mutex.h"\n',
                    "no layer")

    def test_public_headers_of_the_sdk_name_nothing_foreign(self):
        name = "client/cpp/include/accrue/extra.h"
        for include in ("<grpcpp/grpcpp.h>", '"accrue/v1/model.pb.h"',
                        "<google/protobuf/message.h>", '"server/base/mutex.h"',
                        '"client/cpp/src/connection.h"'):
            self.expect(name, header("ACCRUE_CLIENT_EXTRA_H_",
                                     f"#include {include}"), "public headers")

    def test_clients_stay_out_of_the_servers_layers(self):
        self.expect("client/ctl/extra.cc", '#include "server/model/model.h"\n',
                    "clients must not include")

    def test_includes_are_spelled_from_the_root(self):
        self.expect("server/base/extra.cc", '#include "mutex.h"\n',
                    "repository root")

    def test_header_guards_follow_the_path(self):
        self.expect("server/base/extra.h", header("ACCRUE_BASE_EXTRA_H_"),
                    "header guard is not ACCRUE_SERVER_BASE_EXTRA_H_")
        self.expect("server/base/extra.h", "#pragma once\n", "header guard")
        guard = "ACCRUE_SERVER_BASE_EXTRA_H_"
        self.expect("server/base/extra.h",
                    f"#ifndef {guard}\n#define {guard}\n#endif\n",
                    "does not end with")

    def test_words_of_the_unfinished_are_found(self):
        for word in ("TO" "DO", "FIX" "ME"):
            self.expect("server/base/extra.cc", f"// {word}: more\n", word)
            self.expect("deploy/extra.sh", f"# {word}\n", word)

    def test_sleeping_tests_are_found(self):
        for call in ("std::this_thread::sleep_" "for(x)", "absl::Sleep" "For(x)",
                     "u" "sleep(5)", "time.sl" "eep(1)"):
            self.expect("tests/e2e/extra.py", f"{call}\n", "wait on conditions")
        for call in ("poll(null" "ptr, 0, 10)", "ppoll(NU" "LL, 0, &time, 0)",
                     "select(" "0, 0, 0, 0, &time)"):
            self.expect("tests/e2e/extra.cc", f"{call};\n", "wait on conditions")
        for line in ("sl" "eep 1", "while ! done; do sl" "eep 0.1; done",
                     "(sl" "eep $SECONDS)", 'sl' 'eep "$pause"'):
            self.expect("tests/client/extra.sh", f"{line}\n",
                        "wait on conditions")
        self.assertEqual(
            self.violations({"client/ctl/extra.cc": "u" "sleep(5);\n"}), [])
        self.assertEqual(
            self.violations({
                "tests/e2e/extra.cc": "poll(&descriptor, 1, milliseconds);\n",
                "tests/client/extra.sh": "# no sl" "eep: it waits\n"}), [])

    def test_long_lines_of_the_api_are_found(self):
        self.assertEqual(
            self.violations({"proto/accrue/v1/model.proto": "/" * 80}), [])
        self.expect("proto/accrue/v1/model.proto", "\n" + "/" * 81,
                    "81 columns, want at most 80")

    def test_tests_that_pages_name_exist(self):
        mutex_test = {"tests/base/mutex_test.cc":
                      "TEST_F(MutexTest,\n       IsOneOfMany) {}\n"}
        page = ("`tests/base`, `tests/base/mutex_test.cc`: `MutexTest.`, "
                "`MutexTest.IsOneOfMany`, `mutex_test.cc`, `h.index`\n")
        self.assertEqual(
            self.violations({**mutex_test, "README.md": page}), [])
        for name, why in {
                "`tests/base/lock_test.cc`": "no tests/base/lock_test.cc",
                "`MutexTest.IsNone`": "no test MutexTest.IsNone",
                "`LockTest.`": "no test LockTest."}.items():
            found = self.violations({**mutex_test, "README.md": name})
            self.assertEqual(found, ["README.md: " + why])

    def test_the_top_level_is_exactly_as_laid_out(self):
        self.expect("notes.md", "", "not in the layout")
        self.expect("LICENSE", None, "missing")


if __name__ == "__main__":
    unittest.main()
