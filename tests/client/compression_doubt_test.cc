// What a worker holds back where it is not plain whether its push was folded:
// its answer is lost, its session or the model's lineage is gone, or it goes on
// in the background.

#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/client/compression_fixture.h"
#include "tests/client/decode.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

const Compression kTopTenPercent = {.encoding = Encoding::kTopK,
                                    .top_fraction = 0.1};

class CompressionInDoubtTest : public CompressionTest {};

std::vector<double> Plus(std::vector<double> sum,
                         const std::vector<float>& more) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
  return sum;
}

TEST_F(CompressionInDoubtTest, APushInDoubtCountsOnceItIsKnownToBeFolded) {
  for (const bool by_settling : {true, false}) {
    Worker worker = OpenCompressed(kTopTenPercent);
    ValueOf(Push(worker, Gradient(1)));
    const std::vector<double> before = Sum(worker);
    const std::vector<float> held = worker.residual();
    daemon_.Script("Push", {{Fate::kServeAndHang}});
    EXPECT_FALSE(Push(worker, Gradient(2), absl::Milliseconds(300)).ok());
    ASSERT_TRUE(worker.in_doubt());
    EXPECT_EQ(worker.residual(), held);
    std::vector<double> want = Plus(before, Gradient(2));
    if (by_settling) {
      EXPECT_TRUE(ValueOf(worker.Settle()).has_value());
    } else {
      ValueOf(Push(worker, Gradient(3)));
      want = Plus(want, Gradient(3));
    }
    EXPECT_EQ(Sum(worker), want);
    EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
    EXPECT_EQ(Sum(worker), want);
    daemon_.ForgetFolded();
  }
}

TEST_F(CompressionInDoubtTest, APushInDoubtThatWasNotFoldedDoesNotCount) {
  Worker worker = OpenCompressed(kTopTenPercent);
  ValueOf(Push(worker, Gradient(1)));
  const std::vector<double> before = Sum(worker);
  daemon_.Script("Push", {{Fate::kHang}});
  EXPECT_FALSE(Push(worker, Gradient(2), absl::Milliseconds(300)).ok());
  ASSERT_TRUE(worker.in_doubt());
  EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
  EXPECT_EQ(Sum(worker), before);
}

TEST_F(CompressionInDoubtTest, ALostAnswerThatThePushItselfSettlesCountsOnce) {
  Worker worker = OpenCompressed(kTopTenPercent);
  daemon_.Script("Push", {{Fate::kServeAndCut}});
  EXPECT_TRUE(ValueOf(Push(worker, Gradient(1))).duplicate);
  // And one that was cut off half-way is sent again, the same bytes.
  daemon_.Script("Push", {{Fate::kCutHalfWay}});
  EXPECT_TRUE(ValueOf(Push(worker, Gradient(2))).accepted);
  EXPECT_EQ(Sum(worker),
            Plus(Plus(std::vector<double>(kElems), Gradient(1)), Gradient(2)));
}

// accrue/compression.h says what it costs: as much as the push sent of the
// residual is in the sum once more, and what it left out of its gradient is
// not.
TEST_F(CompressionInDoubtTest, OneWhoseFateNobodyKnowsCountsAsNotFolded) {
  enum class Learns { kByThePush, kBySettling, kByTheNextPush };
  for (const Learns learns :
       {Learns::kByThePush, Learns::kBySettling, Learns::kByTheNextPush}) {
    SCOPED_TRACE(static_cast<int>(learns));
    Worker worker = OpenCompressed(kTopTenPercent);
    ValueOf(Push(worker, Gradient(1)));
    const std::vector<double> before = Sum(worker);
    const std::vector<float> held = worker.residual();
    if (learns == Learns::kByThePush) {
      daemon_.Script("Push", {{Fate::kServeForgetAndCut}});
      EXPECT_EQ(Push(worker, Gradient(2)).status().code(),
                absl::StatusCode::kUnknown);
    } else {
      daemon_.Script("Push", {{Fate::kServeAndHang}});
      EXPECT_FALSE(Push(worker, Gradient(2), absl::Milliseconds(300)).ok());
      ASSERT_TRUE(worker.in_doubt());
      daemon_.ForgetSessions();
    }
    if (learns == Learns::kBySettling) {
      EXPECT_EQ(worker.Settle().status().code(), absl::StatusCode::kUnknown);
    }
    EXPECT_EQ(worker.residual(), held);
    EXPECT_TRUE(ValueOf(Push(worker, Gradient(3))).accepted);
    EXPECT_FALSE(worker.in_doubt());
    // The one in doubt had been folded.
    const std::vector<FoldedPush> folded = daemon_.folded();
    ASSERT_EQ(folded.size(), 3);
    const std::vector<float> lost =
        DecodePayload(kTopTenPercent.encoding, folded[1].payload, kElems);
    EXPECT_EQ(Sum(worker), Plus(Plus(before, lost), Gradient(3)));
    daemon_.ForgetFolded();
  }
}

TEST_F(CompressionInDoubtTest, AForgottenSessionsPushIsSentAnewAndCountsOnce) {
  Worker worker = OpenCompressed(kTopTenPercent);
  ValueOf(Push(worker, Gradient(1)));
  const std::vector<double> before = Sum(worker);
  daemon_.ForgetSessions();
  EXPECT_TRUE(ValueOf(Push(worker, Gradient(2))).accepted);
  EXPECT_EQ(daemon_.calls("Push"), 3);
  EXPECT_EQ(Sum(worker), Plus(before, Gradient(2)));
}

TEST_F(CompressionInDoubtTest, AnotherLineageLeavesTheResidualAsItIs) {
  Worker worker = OpenCompressed(kTopTenPercent);
  ValueOf(Push(worker, Gradient(1)));
  const std::vector<float> held = worker.residual();
  // In doubt when the daemon is lost with all that it had folded.
  daemon_.Script("Push", {{Fate::kServeAndHang}});
  EXPECT_FALSE(Push(worker, Gradient(2), absl::Milliseconds(300)).ok());
  ASSERT_TRUE(worker.in_doubt());
  daemon_.BeginLineage();
  daemon_.ForgetFolded();
  EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
  EXPECT_FALSE(worker.in_doubt());
  EXPECT_EQ(worker.residual(), held);
  // Refused, and what was held back goes out in the new lineage.
  daemon_.Script("Push", {Refuse(grpc::StatusCode::ABORTED,
                                 v1::ErrorDetail::REASON_LINEAGE_CHANGED)});
  EXPECT_EQ(ValueOf(Push(worker, Gradient(2))).reason, Reason::kLineageChanged);
  EXPECT_EQ(worker.residual(), held);
  ValueOf(Push(worker, Gradient(3)));
  EXPECT_EQ(Sum(worker),
            Plus(std::vector<double>(held.begin(), held.end()), Gradient(3)));
}

TEST_F(CompressionInDoubtTest, PushesInTheBackgroundAreSettledInTheirOrder) {
  Worker worker = OpenCompressed(kTopTenPercent);
  daemon_.Script(
      "Push", {{Fate::kServe},
               Refuse(grpc::StatusCode::ABORTED, v1::ErrorDetail::REASON_STALE),
               {Fate::kServeAndCut},
               {Fate::kServeAndHang}});
  const std::vector<float> gradients[] = {Gradient(1), Gradient(2), Gradient(3),
                                          Gradient(4)};
  PushOptions options = {.version = kVersion};
  std::vector<PendingPush> pushes;
  for (const std::vector<float>& gradient : gradients) {
    if (&gradient == &gradients[3]) options.timeout = absl::Milliseconds(300);
    pushes.push_back(worker.PushAsync(gradient, options));
  }
  EXPECT_TRUE(ValueOf(pushes[0].Wait()).accepted);
  EXPECT_EQ(ValueOf(pushes[1].Wait()).reason, Reason::kStale);
  EXPECT_TRUE(ValueOf(pushes[2].Wait()).duplicate);
  EXPECT_FALSE(pushes[3].Wait().ok());
  ASSERT_TRUE(worker.in_doubt());
  std::vector<double> want(kElems);
  for (const int step : {1, 3}) want = Plus(want, Gradient(step));
  // The last one is folded, but only Settle() will know.
  std::vector<double> sum = Sum(worker);
  const std::vector<float> sent = DecodePayload(
      kTopTenPercent.encoding, daemon_.folded().back().payload, kElems);
  for (size_t i = 0; i < kElems; ++i) sum[i] -= sent[i];
  EXPECT_EQ(sum, want);
  EXPECT_TRUE(ValueOf(worker.Settle()).has_value());
  EXPECT_EQ(Sum(worker), Plus(want, Gradient(4)));
}

}  // namespace
}  // namespace accrue::client
