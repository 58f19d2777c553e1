// What a worker holds back of its gradients.

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "tests/client/compression_fixture.h"
#include "tests/client/decode.h"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::client {
namespace {

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
  for (const double fraction : {0.0, -0.1, 0.51, std::nan("")}) {
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
