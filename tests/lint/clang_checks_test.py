#!/usr/bin/env python3
"""Plants faults in a small tree and checks that clang's tools report them."""

import contextlib
import io
import json
import pathlib
import shutil
import tempfile
import unittest

import clang_checks

ROOT = pathlib.Path(__file__).resolve().parents[2]

GUARDED = """\
#include "server/base/mutex.h"

accrue::Mutex mutex;
int count ACCRUE_GUARDED_BY(mutex) = 0;

int Count() {
%s  return count;
}
"""

MOVED = """\
#include <string>
#include <utility>

std::string Twice(std::string text) {
  std::string first = std::move(text);
  return first + %s;
}
"""


class ClangChecksTest(unittest.TestCase):

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name).resolve()
        (self.root / "server/base").mkdir(parents=True)
        for name in (".clang-format", ".clang-tidy", "server/base/mutex.h"):
            shutil.copy(ROOT / name, self.root / name)

    def check(self, which, text):
        """The exit code and the output for a tree with this one source."""
        source = self.root / "server/base/extra.cc"
        source.write_text(text, encoding="utf-8")
        commands = [{
            "directory": str(self.root), "file": str(source),
            "command": f"c++ -std=c++20 -I{self.root} -c {source}"}]
        (self.root / "compile_commands.json").write_text(
            json.dumps(commands), encoding="utf-8")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            if which == "format":
                code = clang_checks.check_format(self.root)
            else:
                code = clang_checks.check_tidy(self.root, self.root)
        return code, output.getvalue()

    def test_a_badly_formatted_file_fails(self):
        self.assertEqual(self.check("format", "int  x;\n")[0], 1)
        self.assertEqual(self.check("format", "int x;\n")[0], 0)

    def test_reading_guarded_data_without_the_lock_fails(self):
        code, output = self.check("tidy", GUARDED % "")
        self.assertEqual(code, 1)
        self.assertIn("thread-safety", output)
        locked = GUARDED % "  accrue::MutexLock lock(&mutex);\n"
        self.assertEqual(self.check("tidy", locked)[0], 0, "a locked read")

    def test_use_after_move_fails(self):
        code, output = self.check("tidy", MOVED % "text")
        self.assertEqual(code, 1)
        self.assertIn("use-after-move", output)
        code, output = self.check("tidy", MOVED % "first")
        self.assertEqual(code, 0, output)

    def test_a_build_without_the_sources_fails(self):
        (self.root / "compile_commands.json").write_text("[]", encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(clang_checks.check_tidy(self.root, self.root), 1)


if __name__ == "__main__":
    unittest.main()
