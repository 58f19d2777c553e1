// What deploy/quickstart.sh promises, with its own flags and all of the data: a
// model that is worth having within three minutes on two cores, and that it
// makes no difference to it where the gradients accumulate.

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/quickstart_output.h"

namespace accrue {
namespace {

// 60,000 examples in batches of 64 from each of 4 workers.
constexpr int64_t kEpochs = 10;
constexpr int64_t kVersionsPerEpoch = 60'000 / 4 / 64;

TrainingResult Train(const std::string& buffering) {
  const auto quickstart = Program::Start(
      {absl::StrCat(std::getenv("ACCRUE_SOURCE_DIR"), "/deploy/quickstart.sh"),
       absl::StrCat("--bin=", std::getenv("ACCRUE_BIN_DIR")),
       absl::StrCat("--buffering=", buffering)});
  if (quickstart == nullptr) return {};
  // Far beyond what it may take, which is judged by what it prints.
  EXPECT_TRUE(quickstart->AwaitOutput("test_accuracy=", absl::Seconds(280)));
  EXPECT_EQ(quickstart->AwaitExit(), 0) << quickstart->err();
  int64_t epoch = 0;
  for (const int64_t version : ReadProgress(quickstart->out(), kEpochs)) {
    EXPECT_GE(version, ++epoch * kVersionsPerEpoch);
  }
  const TrainingResult result = ReadResult(quickstart->out());
  EXPECT_GE(result.test_accuracy, 0.87);
  EXPECT_GT(result.training_seconds, 0);
  EXPECT_LE(result.training_seconds, 180);
  EXPECT_EQ(result.versions, kEpochs * kVersionsPerEpoch);
  EXPECT_EQ(result.pushes, 4 * kEpochs * kVersionsPerEpoch);
  EXPECT_GE(result.published_bytes, 4 * kPerceptronParameters);
  return result;
}

TEST(QuickstartPromiseTest, BothBufferingsTrainAsWellInTime) {
  if (!std::filesystem::exists(kDatasetFolder)) {
    GTEST_SKIP() << "no dataset in " << kDatasetFolder
                 << ": it is in the Debian package dataset-fashion-mnist";
  }
  const TrainingResult embedded = Train("embedded");
  EXPECT_EQ(embedded.accumulation_buffer_bytes, 0);
  const TrainingResult classic = Train("classic");
  EXPECT_EQ(classic.accumulation_buffer_bytes, 4 * kPerceptronParameters);
  EXPECT_LE(std::abs(embedded.test_accuracy - classic.test_accuracy), 0.01);
}

}  // namespace
}  // namespace accrue
