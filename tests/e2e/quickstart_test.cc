// deploy/quickstart.sh and the main job, on the real data but little of it.

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

constexpr char kDataset[] = "/usr/share/datasets/fashion-mnist";
constexpr int64_t kParameters = 784 * 256 + 256 + 256 * 128 + 128 + 1280 + 10;
// Two workers with 64 examples a push: 2,000 make 15 versions.
constexpr int64_t kVersions = 2000 / 2 / 64;

class QuickstartTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kDataset)) {
      GTEST_SKIP() << "no dataset in " << kDataset
                   << ": it is in the Debian package dataset-fashion-mnist";
    }
  }

  // The script with these flags, on the programs of this build.
  std::vector<std::string> Command(std::vector<std::string> flags) {
    flags.insert(
        flags.begin(),
        {absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"),
                      "/deploy/quickstart.sh"),
         absl::StrCat("--bin=", std::getenv("ACCRUE_BIN_DIR")), "--workers=2"});
    return flags;
  }
};

struct Result {
  double test_accuracy = 0;
  int64_t versions = 0;
  int64_t pushes = 0;
  int64_t accumulation_buffer_bytes = -1;
  int64_t published_bytes = 0;
};

// Reads "key=value" into the value; false if it is anything else.
template <typename T>
bool ReadField(absl::string_view field, absl::string_view key, T* value) {
  const std::vector<std::string> parts = absl::StrSplit(field, '=');
  if (parts.size() != 2 || parts[0] != key) return false;
  if constexpr (std::is_same_v<T, double>) {
    return absl::SimpleAtod(parts[1], value);
  } else {
    return absl::SimpleAtoi(parts[1], value);
  }
}

// The last line, of which there is exactly one of this form.
Result LastLine(const std::string& out) {
  std::vector<std::string> lines = absl::StrSplit(out, '\n');
  EXPECT_EQ(lines.back(), "");
  lines.pop_back();
  int count = 0;
  for (const std::string& line : lines) {
    if (line.find("test_accuracy=") != std::string::npos) ++count;
  }
  EXPECT_EQ(count, 1) << out;
  const std::vector<std::string> fields = absl::StrSplit(lines.back(), ' ');
  Result result;
  EXPECT_TRUE(fields.size() == 5 &&
              ReadField(fields[0], "test_accuracy", &result.test_accuracy) &&
              ReadField(fields[1], "versions", &result.versions) &&
              ReadField(fields[2], "pushes", &result.pushes) &&
              ReadField(fields[3], "accumulation_buffer_bytes",
                        &result.accumulation_buffer_bytes) &&
              ReadField(fields[4], "published_bytes", &result.published_bytes))
      << lines.back();
  return result;
}

TEST_F(QuickstartTest, EmbeddedTrainsWithoutABufferAndClassicWithOne) {
  for (const bool classic : {false, true}) {
    const auto quickstart = Program::Start(
        Command({"--epochs=1", "--examples=2000",
                 classic ? "--buffering=classic" : "--buffering=embedded"}));
    ASSERT_NE(quickstart, nullptr);
    EXPECT_EQ(quickstart->AwaitExit(), 0) << quickstart->err();
    EXPECT_TRUE(quickstart->GroupIsGone());
    EXPECT_THAT(quickstart->out(), HasSubstr("\nepoch 1/1  loss "));
    const Result result = LastLine(quickstart->out());
    EXPECT_EQ(result.versions, kVersions);
    EXPECT_EQ(result.pushes, 2 * kVersions);
    EXPECT_EQ(result.accumulation_buffer_bytes, classic ? 4 * kParameters : 0);
    EXPECT_GE(result.published_bytes, 4 * kParameters);
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

TEST_F(QuickstartTest, FlagsThatItDoesNotKnowAreRefusedAtOnce) {
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
  EXPECT_EQ(LastLine(again.out).pushes, LastLine(first.out).pushes);
  EXPECT_EQ(LastLine(again.out).test_accuracy,
            LastLine(first.out).test_accuracy);

  std::vector<std::string> other = command;
  other.push_back("--buffering=classic");
  const Finished refused = RunProgram(other);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("--replace"));
  other.push_back("--replace");
  EXPECT_EQ(LastLine(RunProgram(other).out).accumulation_buffer_bytes,
            4 * kParameters);
}

TEST_F(QuickstartTest, AMissingDatasetIsNamedWithItsPackage) {
  const Finished refused = RunProgram({"fashion_mnist", "--dataset=/nowhere"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("dataset-fashion-mnist"));
}

}  // namespace
}  // namespace accrue
