// deploy/quickstart.sh and the main job, on the real data but little of it.

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/quickstart_output.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

// Two workers with 64 examples a push: 2,000 make 15 versions.
constexpr int64_t kVersions = 2000 / 2 / 64;

constexpr char kDeploy[] = "/deploy/";

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The script with these flags, on the programs of this build.
std::vector<std::string> Command(std::vector<std::string> flags) {
  flags.insert(
      flags.begin(),
      {absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"), kDeploy, "quickstart.sh"),
       absl::StrCat("--bin=", std::getenv("ACCRUE_BIN_DIR")), "--workers=2"});
  return flags;
}

class QuickstartTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kDatasetFolder)) {
      GTEST_SKIP() << "no dataset in " << kDatasetFolder
                   << ": it is in the Debian package dataset-fashion-mnist";
    }
  }
};

TEST_F(QuickstartTest, EmbeddedTrainsWithoutABufferAndClassicWithOne) {
  for (const bool classic : {false, true}) {
    const auto quickstart = Program::Start(
        Command({"--epochs=1", "--examples=2000",
                 classic ? "--buffering=classic" : "--buffering=embedded"}));
    ASSERT_NE(quickstart, nullptr);
    EXPECT_EQ(quickstart->AwaitExit(), 0) << quickstart->err();
    EXPECT_TRUE(quickstart->GroupIsGone());
    EXPECT_EQ(ReadProgress(quickstart->out(), 1),
              std::vector<int64_t>{kVersions});
    const TrainingResult result = ReadResult(quickstart->out());
    EXPECT_EQ(result.versions, kVersions);
    EXPECT_EQ(result.pushes, 2 * kVersions);
    EXPECT_EQ(result.accumulation_buffer_bytes,
              classic ? 4 * kPerceptronParameters : 0);
    EXPECT_GE(result.published_bytes, 4 * kPerceptronParameters);
    // Far above the tenth that guessing gets, far below what training gets.
    EXPECT_GT(result.test_accuracy, 0.3);
  }
}

TEST_F(QuickstartTest, InterruptedItLeavesNothingRunning) {
  for (const bool whole_group : {false, true}) {
    const auto quickstart =
        Program::Start(Command({"--epochs=1000", "--examples=2000"}));
    ASSERT_NE(quickstart, nullptr);
    ASSERT_TRUE(quickstart->AwaitOutput("epoch 1/1000"));
    if (whole_group) {
      quickstart->SignalGroup(SIGINT);
    } else {
      quickstart->Signal(SIGTERM);
    }
    EXPECT_EQ(quickstart->AwaitExit(), whole_group ? 130 : 143)
        << quickstart->err();
    EXPECT_TRUE(quickstart->GroupIsGone());
    EXPECT_EQ(quickstart->out().find("test_accuracy="), std::string::npos);
  }
}

// The worst moment: a process runs, and the script has not noted which.
TEST_F(QuickstartTest, InterruptedInTheMiddleOfAStartItLeavesNothingRunning) {
  namespace fs = std::filesystem;
  const fs::path deploy =
      absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"), kDeploy);
  for (const char* noting : {"daemon=$!", "training=$!"}) {
    SCOPED_TRACE(noting);
    const TemporaryDirectory place;
    const std::string copy = place / "deploy/quickstart.sh";
    fs::create_directory(place / "deploy");
    fs::create_symlink(deploy / "programs.sh", place / "deploy/programs.sh");
    std::string text = ReadText(deploy / "quickstart.sh");
    const size_t at = text.find(noting);
    ASSERT_NE(at, std::string::npos);
    std::ofstream(copy) << text.insert(at, "kill -TERM $$; ");
    std::vector<std::string> command = Command({"--epochs=1000"});
    command.front() = copy;
    command.insert(command.begin(), "/bin/bash");
    const auto quickstart = Program::Start(command);
    ASSERT_NE(quickstart, nullptr);
    EXPECT_EQ(quickstart->AwaitExit(), 143) << quickstart->err();
    EXPECT_TRUE(quickstart->GroupIsGone());
  }
}

TEST_F(QuickstartTest, KilledItLeavesNothingRunning) {
  const auto quickstart =
      Program::Start(Command({"--epochs=1000", "--examples=2000"}));
  ASSERT_NE(quickstart, nullptr);
  ASSERT_TRUE(quickstart->AwaitOutput("epoch 1/1000"));
  quickstart->Signal(SIGKILL);
  EXPECT_EQ(quickstart->AwaitExit(), -SIGKILL);
  EXPECT_TRUE(quickstart->AwaitAllGone());
}

TEST(QuickstartFlagsTest, AMissingCompilerIsNamed) {
  // A tree of its own, so that nothing is installed or built, and a PATH on
  // which everything is but a compiler.
  namespace fs = std::filesystem;
  std::string pattern = testing::TempDir() + "/quickstart_XXXXXX";
  const fs::path root = mkdtemp(pattern.data());
  fs::create_directories(root / "deploy/dependencies");
  for (const char* script : {"quickstart.sh", "programs.sh"}) {
    fs::copy(absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"), "/deploy/", script),
             root / "deploy");
  }
  std::ofstream(root / "deploy/dependencies/install.sh") << "#!/bin/sh\n";
  fs::permissions(root / "deploy/dependencies/install.sh",
                  fs::perms::owner_all);
  fs::create_directory(root / "bin");
  for (const char* name : {"bash", "dirname", "rm", "sleep"}) {
    fs::create_symlink(fs::path("/usr/bin") / name, root / "bin" / name);
  }
  const Finished refused =
      RunProgram({"/usr/bin/env", absl::StrCat("PATH=", root.string(), "/bin"),
                  (root / "deploy/quickstart.sh").string()});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(refused.err,
            "quickstart.sh: no C++ compiler: install the Debian package g++\n");
  EXPECT_FALSE(fs::exists(root / "build"));
  fs::remove_all(root);
}

TEST(QuickstartFlagsTest, FlagsThatItDoesNotKnowAreRefusedAtOnce) {
  const Finished refused = RunProgram(Command({"--buffering=some"}));
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("usage:"));
}

TEST_F(QuickstartTest, ADaemonThatEndsIsAFailedTraining) {
  auto daemon = Daemon::Start();
  ASSERT_NE(daemon, nullptr);
  const auto training =
      Program::Start({"fashion_mnist", "--target", daemon->tcp(), "--workers=2",
                      "--epochs=1000", "--examples=2000", "--patience=10s"});
  ASSERT_NE(training, nullptr);
  ASSERT_TRUE(training->AwaitOutput("epoch 1/1000"));
  daemon->Kill();
  EXPECT_EQ(training->AwaitExit(), 1);
  EXPECT_TRUE(training->GroupIsGone());
  EXPECT_NE(training->err(), "");
}

TEST_F(QuickstartTest, TrainingGoesOnWithAModelThatIsThere) {
  auto daemon = Daemon::Start();
  ASSERT_NE(daemon, nullptr);
  const std::vector<std::string> command = {"fashion_mnist", "--target",
                                            daemon->uds(),   "--workers=2",
                                            "--epochs=1",    "--examples=2000"};
  const Finished first = RunProgram(command);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  // There is nothing left to do: the same result at once.
  const Finished again = RunProgram(command);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(ReadResult(again.out).pushes, ReadResult(first.out).pushes);
  EXPECT_EQ(ReadResult(again.out).test_accuracy,
            ReadResult(first.out).test_accuracy);

  std::vector<std::string> other = command;
  other.push_back("--buffering=classic");
  const Finished refused = RunProgram(other);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("--replace"));
  other.push_back("--replace");
  EXPECT_EQ(ReadResult(RunProgram(other).out).accumulation_buffer_bytes,
            4 * kPerceptronParameters);
}

TEST(QuickstartFlagsTest, AMissingDatasetIsNamedWithItsPackage) {
  const Finished refused = RunProgram({"fashion_mnist", "--dataset=/nowhere"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("dataset-fashion-mnist"));
  const Finished script = RunProgram(Command({"--dataset=/nowhere"}));
  EXPECT_EQ(script.exit_code, 1);
  EXPECT_EQ(script.err,
            "quickstart.sh: no dataset in /nowhere: install the Debian package "
            "dataset-fashion-mnist\n");
}

}  // namespace
}  // namespace accrue
