// Which calls about checkpoints are made again.

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

using grpc::StatusCode;
using Detail = v1::ErrorDetail;

class CheckpointsTest : public SdkTest {};

TEST_F(CheckpointsTest, ADaemonThatIsAwayIsAskedAgain) {
  const Model model = OpenModel();
  daemon_.Script("Checkpoint",
                 {Refuse(StatusCode::UNAVAILABLE, Detail::REASON_DRAINING, 1),
                  {Fate::kServeAndCut}});
  EXPECT_EQ(ValueOf(model.Checkpoint()).name, "checkpoint-1");
  EXPECT_EQ(daemon_.calls("Checkpoint"), 3);
}

TEST_F(CheckpointsTest, AFullDiskIsNot) {
  const Model model = OpenModel();
  const Fate full =
      Refuse(StatusCode::UNAVAILABLE, Detail::REASON_CHECKPOINT_FAILED);
  daemon_.Script("Checkpoint", {full});
  daemon_.Script("Restore", {full});
  EXPECT_EQ(GetReason(model.Checkpoint().status()), Reason::kCheckpointFailed);
  EXPECT_EQ(GetReason(model.Restore().status()), Reason::kCheckpointFailed);
  EXPECT_EQ(daemon_.calls("Checkpoint"), 1);
  EXPECT_EQ(daemon_.calls("Restore"), 1);
}

TEST_F(CheckpointsTest, NobodyIsTakenBackTwice) {
  const Model model = OpenModel();
  daemon_.Script("Restore",
                 {Refuse(StatusCode::UNAVAILABLE, Detail::REASON_DRAINING, 1),
                  {Fate::kServeAndCut}});
  EXPECT_EQ(model.Restore().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(daemon_.calls("Restore"), 2);
}

}  // namespace
}  // namespace accrue::client
