// Memory that takes its time to come, as a GPU's driver gives it: who waits for
// it, and who does not.
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/mutex.h"
#include "tests/device/gate.h"
#include "tests/model/harness.h"
#include "tests/model/noting_shard.h"

namespace accrue {
namespace {

using kernels::Encoding;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Eq;
using ::testing::Not;

// The CPU, whose memory for publications comes when the test lets it, or not at
// all.
class SlowDevice final : public Device {
 public:
  std::string name() const override { return "slow"; }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    return cpu_->Allocate(size_bytes, tag, ledger);
  }
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    {
      MutexLock lock(&mu_);
      threads_.push_back(std::this_thread::get_id());
    }
    gate_.Pass();
    if (refuses_) return absl::ResourceExhaustedError("none left");
    return cpu_->AllocateHost(size_bytes, tag, ledger);
  }

  Gate& gate() { return gate_; }
  void Refuse(bool refuses) { refuses_ = refuses; }
  // Of all who have asked for memory of it.
  std::vector<std::thread::id> threads() const {
    MutexLock lock(&mu_);
    return threads_;
  }

 private:
  const std::unique_ptr<Device> cpu_ = MakeCpuDevice();
  std::atomic<bool> refuses_{false};
  Gate gate_;
  mutable Mutex mu_;
  std::vector<std::thread::id> threads_ ACCRUE_GUARDED_BY(mu_);
};

using Ranges = absl::StatusOr<std::vector<Publication::Range>>;

class AllocationTest : public ::testing::Test {
 protected:
  AllocationTest() { harness_.environment().device = &device_; }

  std::future<Ranges> Read(const Model& model, Encoding encoding) {
    auto read = std::make_shared<std::promise<Ranges>>();
    model.newest()->Ranges(
        {}, encoding, model.pool(), model.lane(),
        [read](Ranges ranges) { read->set_value(std::move(ranges)); });
    return read->get_future();
  }

  SlowDevice device_;
  Harness harness_;
};

TEST_F(AllocationTest, WhoWantsACopyWaitsForItsMemoryAndNobodyElseDoes) {
  const auto model = harness_.Make(SimpleSpec(70'000, 1), 1);
  const std::string session = harness_.Open(*model, "a")->id;
  const size_t asked = device_.threads().size();
  device_.gate().Close();
  std::future<Ranges> first = Read(*model, Encoding::kBf16);
  device_.gate().AwaitCaller();
  std::future<Ranges> second = Read(*model, Encoding::kBf16);
  // Others read what is there, and of the same version.
  EXPECT_TRUE(Read(*model, Encoding::kF32).get().ok());
  EXPECT_THAT(model->newest()->groups()[0]->asked_for(),
              Contains(Encoding::kBf16));
  EXPECT_EQ(model->newest()->groups()[0]->bytes(Encoding::kF16), nullptr);
  device_.gate().Open();
  const Ranges ranges = first.get();
  ASSERT_TRUE(ranges.ok()) << ranges.status();
  EXPECT_EQ(ranges->at(0).size_bytes, 70'000 * 2);
  EXPECT_TRUE(second.get().ok());
  const auto threads = device_.threads();
  EXPECT_EQ(threads.size(), asked + 1);
  EXPECT_THAT(threads, Not(Contains(std::this_thread::get_id())));
}

TEST_F(AllocationTest, ThatThereIsNoMemoryIsToldToAllWhoWaitAndIsNotForGood) {
  const auto model = harness_.Make(SimpleSpec(70, 1), 1);
  device_.Refuse(true);
  device_.gate().Close();
  std::future<Ranges> first = Read(*model, Encoding::kF16);
  device_.gate().AwaitCaller();
  std::future<Ranges> second = Read(*model, Encoding::kF16);
  device_.gate().Open();
  for (auto* read : {&first, &second}) {
    EXPECT_EQ(read->get().status(), absl::ResourceExhaustedError("none left"));
  }
  device_.Refuse(false);
  EXPECT_TRUE(Read(*model, Encoding::kF16).get().ok());
}

// It may be a thread that must not wait.
TEST_F(AllocationTest, WhoSubmitsAPushOfASmallModelNeverWaitsForMemory) {
  std::vector<std::thread::id> passes;
  harness_.environment().make_shard = NotingShards(&passes);
  const auto model = harness_.Make(SimpleSpec(70, 1), 1);
  const std::string session = harness_.Open(*model, "a")->id;
  int64_t sequence = 0;
  const auto next_version = [&] {
    ASSERT_TRUE(Read(*model, Encoding::kBf16).get().ok());
    const auto outcome = harness_.PushNow(*model, session, ++sequence,
                                          std::vector<float>(70, 0.5f));
    EXPECT_TRUE(outcome.ok()) << outcome.status();
  };
  // Beside a version that a reader holds two take turns, each with a copy.
  const auto held = model->newest();
  for (int version = 0; version < 4; ++version) next_version();
  EXPECT_EQ(device_.threads().size(), 3 * 2);
  const auto here = std::this_thread::get_id();
  EXPECT_THAT(device_.threads(), Not(Contains(here)));
  // With all memory there it folds pushes itself, once the pool has let go of
  // the last that it had to.
  while (passes.back() != here) next_version();
  passes.clear();
  for (int version = 0; version < 4; ++version) next_version();
  EXPECT_THAT(passes, Each(Eq(here)));
}

}  // namespace
}  // namespace accrue
