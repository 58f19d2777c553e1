// Workers push to a daemon that nothing happens to.
#include "tests/faults/trial.h"

#include <cstdint>
#include <iostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"

namespace accrue::faults {
namespace {

using testing::IsEmpty;

constexpr int64_t kPushes = 1000;

int64_t CountUnknown(const Trial& trial) {
  int64_t count = 0;
  for (const TrialModel* model : {&trial.replayed(), &trial.one_hot()}) {
    for (const PushRecord& push : model->history.pushes()) {
      if (push.outcome == PushRecord::Outcome::kUnknown) ++count;
    }
  }
  return count;
}

// Seeds of all three optimizers.
class TrialTest : public testing::TestWithParam<uint64_t> {};

TEST_P(TrialTest, WithoutFaultsEveryBitIsRight) {
  const TemporaryDirectory directory;
  const auto daemon =
      Daemon::Start({"--log_level=warn", "--data_dir=" + directory.path()});
  ASSERT_NE(daemon, nullptr);
  const auto trial = Trial::Create({.seed = GetParam(),
                                    .target = daemon->tcp(),
                                    .client = ImpatientClient()});
  ASSERT_TRUE(trial.ok()) << trial.status();
  std::cout << "seed " << GetParam() << ": " << (*trial)->description() << "\n";
  (*trial)->Start();
  EXPECT_TRUE((*trial)->AwaitAcknowledged(kPushes, absl::Seconds(60)));
  (*trial)->Stop();
  const auto verdict = (*trial)->Judge(daemon->tcp(), {}, directory.path());
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_GE(verdict->acked, kPushes);
  EXPECT_EQ(verdict->lost, 0);
  EXPECT_EQ(verdict->unreported, 0);
  EXPECT_EQ(verdict->twice, 0);
  EXPECT_EQ(verdict->mismatched_bytes, 0);
  EXPECT_GT(verdict->moments_compared, 0);
  EXPECT_THAT(verdict->complaints, IsEmpty());
  std::cout << "acknowledged " << verdict->acked << ", unknown "
            << CountUnknown(**trial) << "\n";
}

INSTANTIATE_TEST_SUITE_P(Seeds, TrialTest, testing::Values(2, 6, 10, 20));

}  // namespace
}  // namespace accrue::faults
