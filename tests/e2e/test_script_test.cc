// deploy/test.sh: what it makes of what cmake and ctest say, both played here.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/ctl_program.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// As CTest writes it.
std::string JUnit(int tests, int failures, int skipped,
                  const std::string& cases) {
  return absl::StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
                      "<testsuite name=\"(empty)\"\n\ttests=\"", tests,
                      "\"\n\tfailures=\"", failures, "\"\n\tdisabled=\"0\"\n",
                      "\tskipped=\"", skipped, "\"\n\thostname=\"\"\n\t>\n",
                      cases, "</testsuite>\n");
}

std::string Case(const std::string& name, const std::string& status,
                 const std::string& output) {
  return absl::StrCat("\t<testcase name=\"", name, "\" classname=\"", name,
                      "\" time=\"0.1\" status=\"", status,
                      "\">\n\t\t<system-out>", output,
                      "</system-out>\n\t</testcase>\n");
}

// The script in a tree of its own, with programs of ours before all others.
class TestScriptTest : public testing::Test {
 protected:
  TestScriptTest() {
    std::string pattern = testing::TempDir() + "/test_script_XXXXXX";
    root_ = mkdtemp(pattern.data());
    fs::create_directories(root_ / "deploy/dependencies");
    fs::create_directories(root_ / "bin");
    fs::copy(absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"), "/deploy/test.sh"),
             root_ / "deploy");
    Write("deploy/dependencies/install.sh", "#!/bin/sh\n");
    Write("bin/cmake", "#!/bin/sh\nmkdir -p build/$3\n");
  }
  ~TestScriptTest() override { fs::remove_all(root_); }

  // With a ctest that writes this file, unless it is empty, and ends so.
  Finished Run(const std::string& junit, int ctest_status,
               const std::vector<std::string>& flags = {}) {
    if (!junit.empty()) Write("junit.xml", junit);
    Write("bin/ctest",
          absl::StrCat("#!/bin/sh\n[ \"$3\" = --output-junit ] || exit 99\n",
                       junit.empty() ? "" : "cp junit.xml \"$4\"\n", "exit ",
                       ctest_status, "\n"));
    return RunScript(flags);
  }
  // With bin/ctest as it is.
  Finished RunScript(const std::vector<std::string>& flags) {
    std::vector<std::string> command = {
        "/usr/bin/env", absl::StrCat("PATH=", root_.string(), "/bin:/usr/bin"),
        (root_ / "deploy/test.sh").string()};
    command.insert(command.end(), flags.begin(), flags.end());
    return RunProgram(command);
  }

  void ReleaseTakesASecond() {
    Write("bin/cmake",
          "#!/bin/sh\nmkdir -p build/$3\n[ \"$3\" != release ] || sleep 1\n");
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name) << text;
    fs::permissions(root_ / name, fs::perms::owner_all);
  }

  static std::string LastLine(const Finished& finished) {
    const std::vector<std::string> lines = absl::StrSplit(finished.out, '\n');
    return lines.size() < 2 ? "" : lines[lines.size() - 2];
  }

  fs::path root_;
};

TEST_F(TestScriptTest, WhatPassedAndFailedIsCounted) {
  const Finished good = Run(JUnit(2, 0, 0, Case("a", "run", "fine")), 0);
  EXPECT_EQ(good.exit_code, 0) << good.err;
  EXPECT_EQ(LastLine(good), "2 passed, 0 failed");
  EXPECT_THAT(good.out, testing::ContainsRegex("took [0-9]+ s in all"));
  const Finished bad = Run(JUnit(3, 1, 0, Case("a", "fail", "")), 8);
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(LastLine(bad), "2 passed, 1 failed");
}

TEST_F(TestScriptTest, ATestThatDidNotRunHasFailedAndIsNamed) {
  const Finished finished =
      Run(JUnit(3, 0, 1, Case("b_test", "notrun", "no executable")), 8);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(LastLine(finished), "2 passed, 1 failed");
  EXPECT_THAT(finished.out, HasSubstr("not run: b_test\n"));
}

TEST_F(TestScriptTest, AStatusThatNoTestExplainsIsAFailure) {
  const Finished finished = Run(JUnit(2, 0, 0, ""), 7);
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_EQ(LastLine(finished), "2 passed, 1 failed");
  EXPECT_THAT(finished.out, HasSubstr("ctest ended with 7"));
}

TEST_F(TestScriptTest, NoTestsAreAFailure) {
  EXPECT_EQ(LastLine(Run(JUnit(0, 0, 0, ""), 0)), "0 passed, 1 failed");
  EXPECT_EQ(LastLine(Run("", 1)), "0 passed, 1 failed");
}

TEST_F(TestScriptTest, PresetsThatWouldNotEndInTimeAreLeftOutAndNamed) {
  ReleaseTakesASecond();
  const std::string junit = JUnit(2, 0, 0, Case("a", "run", "fine"));
  const Finished all = Run(junit, 0, {"--sanitizers", "--within=3600"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_EQ(LastLine(all), "8 passed, 0 failed");
  EXPECT_THAT(all.out, Not(HasSubstr("left out")));

  const Finished some = Run(junit, 0, {"--sanitizers", "--within=1"});
  EXPECT_EQ(some.exit_code, 0) << some.err;
  EXPECT_THAT(some.out, HasSubstr("left out for want of time: asan"));
  EXPECT_EQ(Run(junit, 0, {"--sanitizers", "--within=soon"}).exit_code, 2);
  EXPECT_EQ(Run(junit, 0, {"--only=asan", "--within=9"}).exit_code, 2);
  EXPECT_EQ(Run(junit, 0, {"--within=1"}).exit_code, 2);
}

TEST_F(TestScriptTest, APresetThatRunsOutOfTimeHasFailedOnlyWhatItSaid) {
  ReleaseTakesASecond();
  Write("bin/ctest",
        "#!/bin/sh\n[ \"$2\" = asan ] && echo 1/9 Test a ***Failed\n"
        "[ \"$2\" != asan ] || exec sleep 60\ncp junit.xml \"$4\"\n");
  Write("junit.xml", JUnit(2, 0, 0, Case("a", "run", "fine")));
  const Finished finished = RunScript({"--sanitizers", "--within=8"});
  EXPECT_EQ(finished.exit_code, 1) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("left out for want of time: asan"));
  EXPECT_THAT(LastLine(finished), HasSubstr(" passed, 1 failed"));
}

TEST_F(TestScriptTest, CasesThatSkippedThemselvesAreNamedAndWhy) {
  const Finished finished =
      Run(JUnit(1, 0, 0,
                Case("a", "run",
                     "[ RUN      ] A.B\na_test.cc:1: Skipped\nno GPU\n\n"
                     "[  SKIPPED ] A.B (0 ms)\n"
                     "[ RUN      ] A.C\na_test.cc:1: Skipped\nno GPU\n\n"
                     "[  SKIPPED ] A.C (0 ms)\n"
                     "[  SKIPPED ] 2 tests, listed below:\n"
                     "[  SKIPPED ] A.B\n[  SKIPPED ] A.C\n")),
          0);
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(LastLine(finished), "1 passed, 0 failed");
  EXPECT_THAT(finished.out,
              HasSubstr("\ncases that skipped themselves: 2\n  A.B\n  A.C\n"
                        "because:\n  no GPU\ntook "));
}

TEST_F(TestScriptTest, WhetherTheGpuBackendIsBuiltIsSaid) {
  Write("bin/cmake",
        "#!/bin/sh\nmkdir -p build/release\necho '-- CUDA: why'\n");
  EXPECT_THAT(Run(JUnit(1, 0, 0, ""), 0).out,
              HasSubstr("\n== release: CUDA: why\n"));
}

}  // namespace
}  // namespace accrue
