#include "server/service/device_watch.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/device/fake_gpu.h"

namespace accrue {
namespace {

constexpr int64_t kBytes = 1000;

// Whether it becomes true within a minute.
template <class Condition>
bool Soon(const Condition& holds) {
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  while (!holds() && absl::Now() < deadline) std::this_thread::yield();
  return holds();
}

class DeviceWatchTest : public testing::Test {
 protected:
  DeviceWatchTest() {
    for (int i = 0; i < 2; ++i) {
      auto gpu =
          std::make_unique<FakeGpu>(FakeGpuOptions{.capacity_bytes = kBytes});
      fakes_.push_back(gpu.get());
      gpus_.push_back(std::move(gpu));
    }
  }

  std::vector<FakeGpu*> fakes_;
  std::vector<std::unique_ptr<Gpu>> gpus_;
};

TEST_F(DeviceWatchTest, KnowsTheMemoryOfEachFromTheStart) {
  const auto buffer = fakes_[1]->Allocate(10, MemoryTag::kOther, nullptr);
  const DeviceWatch watch(&gpus_, absl::InfiniteDuration());
  for (size_t i = 0; i < 2; ++i) {
    const auto memory = watch.memory(i);
    ASSERT_TRUE(memory.has_value());
    EXPECT_EQ(memory->total_bytes, kBytes);
    EXPECT_EQ(memory->free_bytes, kBytes - 10 * static_cast<int64_t>(i));
  }
}

TEST_F(DeviceWatchTest, HearsOfChanges) {
  const DeviceWatch watch(&gpus_, absl::Milliseconds(1));
  const auto buffer = fakes_[1]->Allocate(10, MemoryTag::kOther, nullptr);
  EXPECT_TRUE(Soon([&] { return watch.memory(1)->free_bytes < kBytes; }));
  fakes_[0]->Lose("fallen off");
  EXPECT_TRUE(Soon([&] { return !watch.memory(0).has_value(); }));
  EXPECT_EQ(watch.memory(1)->free_bytes, kBytes - 10);
}

TEST_F(DeviceWatchTest, TellsWhatItKnowsWhileADriverDoesNotAnswer) {
  DeviceWatch watch(&gpus_, absl::Milliseconds(1));
  Gate& gate = fakes_[0]->gate(FakeCall::kMemory);
  gate.Close();
  gate.AwaitCaller();
  EXPECT_EQ(watch.memory(0)->total_bytes, kBytes);
  gate.Open();
  watch.Stop();
  EXPECT_TRUE(watch.memory(0).has_value());
}

TEST_F(DeviceWatchTest, OneThatDoesNotAnswerHidesNoOther) {
  const DeviceWatch watch(&gpus_, absl::Milliseconds(1));
  Gate& gate = fakes_[0]->gate(FakeCall::kMemory);
  gate.Close();
  gate.AwaitCaller();
  fakes_[1]->Lose("fallen off");
  EXPECT_TRUE(Soon([&] { return !watch.memory(1).has_value(); }));
  gate.Open();
}

TEST_F(DeviceWatchTest, HasNothingToDoWithoutGpus) {
  gpus_.clear();
  DeviceWatch watch(&gpus_);
  watch.Stop();
}

}  // namespace
}  // namespace accrue
