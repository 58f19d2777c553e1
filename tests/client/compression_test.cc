// What a worker holds back of its gradients, whatever becomes of its pushes.

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/client/decode.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

constexpr size_t kElems = 17;  // of the fixture's model

class CompressionTest : public SdkTest {
 protected:
  Worker OpenCompressed(const Compression& compression) {
    compression_ = compression;
    return ValueOf(OpenModel().OpenWorker({.compression = compression}));
  }

  absl::StatusOr<PushResult> Push(Worker& worker,
                                  const std::vector<float>& gradient,
                                  absl::Duration timeout = absl::Seconds(60)) {
    const v1::Version newest = daemon_.version();
    return worker.Push(gradient,
                       {.version = Version{newest.lineage(), newest.number()},
                        .timeout = timeout});
  }

  // Of everything that was folded, and of what is held back.
  std::vector<double> Sum(const Worker& worker) const {
    std::vector<double> sum(kElems);
    for (const FoldedPush& push : daemon_.folded()) {
      const std::vector<float> sent =
          DecodePayload(compression_.encoding, push.payload, kElems);
      for (size_t i = 0; i < kElems; ++i) sum[i] += sent[i];
    }
    const std::vector<float> residual = worker.residual();
    for (size_t i = 0; i < residual.size(); ++i) sum[i] += residual[i];
    return sum;
  }

  Compression compression_;
};

// Of step `step`, in integers.
std::vector<float> Gradient(int step) {
  std::vector<float> gradient(kElems);
  for (size_t i = 0; i < kElems; ++i) {
    gradient[i] = static_cast<float>(
        static_cast<int>(i * i * 7 + step * 131) % 1999 - 999);
  }
  return gradient;
}

const Compression kLossy[] = {
    {.encoding = Encoding::kBf16},
    {.encoding = Encoding::kTopK, .top_fraction = 0.1},
    {.encoding = Encoding::kTopK, .top_fraction = 0.5},
};

TEST_F(CompressionTest, ARefusedPushChangesNothingInWhatWasSentAndIsHeldBack) {
  for (const Compression& compression : kLossy) {
    Worker worker = OpenCompressed(compression);
    const std::vector<double> before = Sum(worker);
    std::vector<double> want = before;
    for (int step = 0; step < 60; ++step) {
      const bool refused = step % 3 == 2;
      if (refused) {
        daemon_.Script("Push", {Refuse(grpc::StatusCode::ABORTED,
                                       v1::ErrorDetail::REASON_STALE)});
      }
      const std::vector<float> held = worker.residual();
      const std::vector<float> gradient = Gradient(step);
      EXPECT_EQ(ValueOf(Push(worker, gradient)).accepted, !refused);
      if (refused) {
        EXPECT_EQ(worker.residual(), held);
      } else {
        for (size_t i = 0; i < kElems; ++i) want[i] += gradient[i];
      }
      // Integers below 2^24: nothing rounds.
      ASSERT_EQ(Sum(worker), want) << "step " << step;
    }
    daemon_.ForgetFolded();
  }
}

TEST_F(CompressionTest, OfInt8SoLittleIsLostAsRoundsInItsProducts) {
  Worker worker = OpenCompressed({.encoding = Encoding::kInt8});
  std::vector<double> want(kElems);
  for (int step = 0; step < 60; ++step) {
    if (step % 3 == 2) {
      daemon_.Script("Push", {Refuse(grpc::StatusCode::ABORTED,
                                     v1::ErrorDetail::REASON_QUOTA)});
    }
    const std::vector<float> gradient = Gradient(step);
    if (!ValueOf(Push(worker, gradient)).accepted) continue;
    for (size_t i = 0; i < kElems; ++i) want[i] += gradient[i];
    // A push rounds the sum with the residual, and the rest, once each: numbers
    // below 1024.
    const std::vector<double> sum = Sum(worker);
    for (size_t i = 0; i < kElems; ++i) {
      ASSERT_NEAR(sum[i], want[i], (step + 1) * 2 * 1024 * 0x1p-24);
    }
  }
}

TEST_F(CompressionTest, WithoutFeedbackWhatIsLeftOutIsLost) {
  Worker worker = OpenCompressed({.encoding = Encoding::kTopK,
                                  .top_fraction = 0.1,
                                  .error_feedback = false});
  for (int step = 0; step < 2; ++step) {
    ValueOf(Push(worker, Ramp(kElems)));
    EXPECT_TRUE(worker.residual().empty());
    std::vector<float> want(kElems);
    want[15] = 15;
    want[16] = 16;
    EXPECT_EQ(
        DecodePayload(Encoding::kTopK, daemon_.folded().back().payload, kElems),
        want);
  }
}

TEST_F(CompressionTest, APushInDoubtCountsOnceItIsKnownToBeFolded) {
  for (const bool by_settling : {true, false}) {
    Worker worker = OpenCompressed(kLossy[1]);
    ValueOf(Push(worker, Gradient(1)));
    const std::vector<double> before = Sum(worker);
    const std::vector<float> held = worker.residual();
    daemon_.Script("Push", {{Fate::kServeAndHang}});
    EXPECT_FALSE(Push(worker, Gradient(2), absl::Milliseconds(300)).ok());
    ASSERT_TRUE(worker.in_doubt());
    EXPECT_EQ(worker.residual(), held);
    std::vector<double> want = before;
    for (size_t i = 0; i < kElems; ++i) want[i] += Gradient(2)[i];
    if (by_settling) {
      EXPECT_TRUE(ValueOf(worker.Settle()).has_value());
    } else {
      ValueOf(Push(worker, Gradient(3)));
      for (size_t i = 0; i < kElems; ++i) want[i] += Gradient(3)[i];
    }
    EXPECT_EQ(Sum(worker), want);
    EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
    EXPECT_EQ(Sum(worker), want);
    daemon_.ForgetFolded();
  }
}

TEST_F(CompressionTest, APushInDoubtThatWasNotFoldedDoesNotCount) {
  Worker worker = OpenCompressed(kLossy[1]);
  ValueOf(Push(worker, Gradient(1)));
  const std::vector<double> before = Sum(worker);
  daemon_.Script("Push", {{Fate::kHang}});
  EXPECT_FALSE(Push(worker, Gradient(2), absl::Milliseconds(300)).ok());
  ASSERT_TRUE(worker.in_doubt());
  EXPECT_FALSE(ValueOf(worker.Settle()).has_value());
  EXPECT_EQ(Sum(worker), before);
}

TEST_F(CompressionTest, ALostAnswerThatThePushItselfSettlesCountsOnce) {
  Worker worker = OpenCompressed(kLossy[1]);
  daemon_.Script("Push", {{Fate::kServeAndCut}});
  EXPECT_TRUE(ValueOf(Push(worker, Gradient(1))).duplicate);
  // And one that was cut off half-way is sent again, the same bytes.
  daemon_.Script("Push", {{Fate::kCutHalfWay}});
  EXPECT_TRUE(ValueOf(Push(worker, Gradient(2))).accepted);
  std::vector<double> want(kElems);
  for (size_t i = 0; i < kElems; ++i) {
    want[i] = Gradient(1)[i] + Gradient(2)[i];
  }
  EXPECT_EQ(Sum(worker), want);
}

TEST_F(CompressionTest, TheScaleOfThePayloadIsTakenOutOfTheResidual) {
  Worker worker =
      OpenCompressed({.encoding = Encoding::kTopK, .top_fraction = 0.1});
  const Version version = kVersion;
  std::vector<float> scaled = Ramp(kElems);
  for (float& value : scaled) value *= 8;
  ValueOf(worker.Push(scaled, {.version = version, .scale = 8}));
  EXPECT_EQ(worker.residual()[14], 14);
  EXPECT_EQ(worker.residual()[16], 0);
  ValueOf(worker.Push(std::vector<float>(kElems), {.version = version}));
  EXPECT_EQ(DecodePayload(Encoding::kTopK, daemon_.folded().back().payload,
                          kElems)[14],
            14);
}

TEST_F(CompressionTest, WhatCannotBeIsRefused) {
  const Model model = OpenModel();
  for (const double fraction : {0.0, -0.1, 1.1, std::nan("")}) {
    const Compression compression = {.encoding = Encoding::kTopK,
                                     .top_fraction = fraction};
    EXPECT_EQ(model.OpenWorker({.compression = compression}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  Worker worker = OpenCompressed({.encoding = Encoding::kInt8});
  EXPECT_EQ(Push(worker, Ramp(kElems - 1)).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::vector<uint16_t> halves(kElems);
  EXPECT_EQ(worker
                .Push(Payload::Encoded(Encoding::kBf16, halves),
                      {.version = kVersion})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(daemon_.calls("Push"), 0);
}

}  // namespace
}  // namespace accrue::client
