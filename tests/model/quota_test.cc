// A worker's share of a version belongs to its name: no session, new or gone,
// gives it more.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/session_table.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;

class QuotaTest : public ::testing::Test {
 protected:
  // Workers "a" and "b", of one push a version each.
  void Make() {
    ModelSpec spec = SimpleSpec(1, 2);
    spec.max_pushes_per_worker = 1;
    model_ = harness_.Make(spec);
    a_ = harness_.Open(*model_, "a")->id;
    ASSERT_TRUE(harness_.PushNow(*model_, a_, 1, {1}).ok());
  }

  // "a", in a session that has pushed nothing, must wait for the next version.
  void ExpectUsedUp(const std::string& session) {
    const auto refused = harness_.PushNow(*model_, session, 1, {1});
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(GetErrorInfo(refused.status()).reason, Reason::kQuota);
    EXPECT_THAT(model_->Describe().pushed_workers, ElementsAre("a"));
    ASSERT_EQ(model_->Sessions().size(), 1);
    EXPECT_EQ(model_->Sessions()[0].pushes_this_version, 1);

    const std::string b = harness_.Open(*model_, "b")->id;
    ASSERT_TRUE(harness_.PushNow(*model_, b, 1, {1})->published);
    EXPECT_TRUE(harness_.PushNow(*model_, session, 1, {1}).ok());
  }

  Harness harness_;
  std::shared_ptr<Model> model_;
  std::string a_;
};

TEST_F(QuotaTest, ATakeOverGivesTheWorkerNoNewShare) {
  Make();
  ExpectUsedUp(harness_.Open(*model_, "a")->id);
}

TEST_F(QuotaTest, ClosingAndOpeningAgainGivesTheWorkerNoNewShare) {
  Make();
  ASSERT_TRUE(harness_.CloseSession(*model_, a_).ok());
  ExpectUsedUp(harness_.Open(*model_, "a")->id);
}

// However often it opens a session under another name.
TEST(WorkersTest, AreNoMoreAVersionThanACheckpointHasRoomFor) {
  constexpr int kGroups = 10'000;
  ModelSpec spec = SimpleSpec(kGroups, 1 << 20);
  const GroupSpec group = spec.groups[0];
  const TensorSpec tensor = spec.tensors[0];
  spec.groups.assign(kGroups, group);
  spec.tensors.assign(kGroups, tensor);
  for (int g = 0; g < kGroups; ++g) {
    spec.tensors[g].name = spec.tensors[g].group = spec.groups[g].name =
        "g" + std::to_string(g);
    spec.tensors[g].shape = {1};
  }
  Harness harness;
  const auto model = harness.Make(spec);
  const std::vector<float> gradient(kGroups, 1);
  const auto push = [&](const std::string& worker) {
    const auto session = harness.Open(*model, worker);
    absl::Status pushed =
        harness
            .PushNow(*model, session->id, session->last_sequence + 1, gradient)
            .status();
    EXPECT_TRUE(harness.CloseSession(*model, session->id).ok());
    return pushed;
  };
  const int64_t most = MostSessions(kGroups);
  for (int64_t i = 0; i < most; ++i) {
    ASSERT_EQ(push("w" + std::to_string(i)), absl::OkStatus()) << i;
  }
  const absl::Status refused = push("another");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kLimit);
  EXPECT_EQ(model->Describe().folded_pushes, most);
  EXPECT_EQ(push("w0"), absl::OkStatus());
  ASSERT_TRUE(harness.EndCycle(*model).ok());
  EXPECT_EQ(push("another"), absl::OkStatus());
}

TEST(SessionTableTest, AnExpiredSessionLeavesItsWorkersShareUsed) {
  SessionTable table("m", 10);
  const absl::Time now = absl::Now();
  table.Open("a", "1", now);
  table.CountPushes("a", 7, 2);
  const auto idle = table.IdleSince(now + absl::Seconds(1));
  ASSERT_EQ(idle.size(), 1);
  ASSERT_TRUE(table.Close(idle[0]));
  table.Open("a", "2", now);
  EXPECT_EQ(table.PushesAfter(7, "a"), 2);
  table.CountPushes("b", 8, 1);
  EXPECT_EQ(table.PushesAfter(8, "a"), 0);
  EXPECT_EQ(table.PushesAfter(7, "a"), 0);
}

}  // namespace
}  // namespace accrue
