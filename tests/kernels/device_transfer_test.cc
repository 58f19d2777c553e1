#include "server/kernels/device_transfer.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "tests/device/fake_gpu.h"

namespace accrue::kernels {
namespace {

constexpr int64_t kSlotElems = 256;
constexpr int64_t kElems = 3 * kSlotElems + 100;

// An array on a GPU with a ring of small slots.
class DeviceTransferTest : public testing::TestWithParam<FakeSchedule> {
 protected:
  DeviceTransferTest()
      : gpu_({.schedule = GetParam(), .seed = 5}),
        ring_(*StagingRing::Make(&gpu_,
                                 {.slots = 2, .slot_bytes = kSlotElems * 4})),
        array_(*gpu_.Allocate(kElems * 4, MemoryTag::kOther, nullptr)) {}

  float* array() const { return static_cast<float*>(array_.data()); }

  std::vector<float> Contents() {
    std::vector<float> contents(static_cast<size_t>(kElems), -1);
    EXPECT_TRUE(CopyOut(*ring_, array(), kElems, contents.data()).ok());
    return contents;
  }

  FakeGpu gpu_;
  const std::unique_ptr<StagingRing> ring_;
  const Buffer array_;
};

TEST_P(DeviceTransferTest, AnyNumberOfElementsArrivesAndNoOther) {
  std::vector<float> want(static_cast<size_t>(kElems));
  EXPECT_EQ(Contents(), want);
  float next = 1;
  for (const int64_t count :
       {int64_t{0}, int64_t{1}, kSlotElems - 1, kSlotElems, kSlotElems + 1,
        2 * kSlotElems, kElems - 3}) {
    std::vector<float> in(static_cast<size_t>(count));
    std::iota(in.begin(), in.end(), next += 1000);
    std::copy(in.begin(), in.end(), want.begin() + 3);
    ASSERT_TRUE(CopyIn(*ring_, in.data(), count, array() + 3).ok());
    EXPECT_EQ(Contents(), want) << count;
  }
  ASSERT_TRUE(SetToZero(*ring_, array() + 1, kElems - 2).ok());
  std::fill(want.begin() + 1, want.end() - 1, 0.0f);
  EXPECT_EQ(Contents(), want);
}

TEST_P(DeviceTransferTest, APieceThatFailsIsTheTransfersError) {
  std::vector<float> host(static_cast<size_t>(kElems));
  for (const FakeOp op : {FakeOp::kCopyToDevice, FakeOp::kCopyToHost}) {
    for (const auto effect :
         {FakeFault::Effect::kRefuse, FakeFault::Effect::kFail}) {
      const absl::Status status = absl::InternalError("a planted fault");
      gpu_.Inject({.op = op, .nth = 2, .effect = effect, .status = status});
      EXPECT_EQ(op == FakeOp::kCopyToDevice
                    ? CopyIn(*ring_, host.data(), kElems, array())
                    : CopyOut(*ring_, array(), kElems, host.data()),
                status);
      EXPECT_TRUE(CopyIn(*ring_, host.data(), kElems, array()).ok());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, DeviceTransferTest,
                         testing::Values(FakeSchedule::kEager,
                                         FakeSchedule::kLazy,
                                         FakeSchedule::kRandom));

}  // namespace
}  // namespace accrue::kernels
