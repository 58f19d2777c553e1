// Checkpoints that come by themselves, on a disk that takes its time.
#include <cstdint>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/durability/model_log.h"
#include "tests/durability/slow_disk.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

class DueTest : public SlowDiskTest,
                public testing::WithParamInterface<Durability> {};

// Nothing else happens to the model afterwards.
TEST_P(DueTest, WhatCameWhileOneWasMadeIsInTheNext) {
  DurabilityOptions options;
  options.checkpoint_every_updates = 1;
  options.checkpoint_period = absl::InfiniteDuration();
  StartAgain(options);
  const auto model = Create(GetParam());
  ASSERT_TRUE(harness().Initialize(*model, 1).ok());
  const auto session = harness().Open(*model, "w");
  const auto push_update = [&](int64_t first) {
    for (const int64_t sequence : {first, first + 1}) {
      ASSERT_TRUE(harness()
                      .PushNow(*model, session->id, sequence, {1, 2, 3, 4, 5})
                      .ok());
    }
  };
  HoldUp("rename", "/tmp-");
  push_update(1);
  AwaitHeldUp();
  push_update(3);
  LetGo();
  const auto log = *process_->data().Find("m");
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (log->newest().folded_pushes < 4 && absl::Now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(log->newest().folded_pushes, 4);
}

INSTANTIATE_TEST_SUITE_P(, DueTest,
                         testing::Values(Durability::kMemory,
                                         Durability::kJournal));

}  // namespace
}  // namespace accrue
