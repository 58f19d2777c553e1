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

// Threads that have asked for memory, or freed it.
class NotedThreads {
 public:
  void Note() {
    MutexLock lock(&mu_);
    threads_.push_back(std::this_thread::get_id());
    noted_.SignalAll();
  }
  std::vector<std::thread::id> all() const {
    MutexLock lock(&mu_);
    return threads_;
  }
  // Once there are so many.
  std::vector<std::thread::id> Await(size_t count) {
    MutexLock lock(&mu_);
    while (threads_.size() < count) noted_.Wait(&mu_);
    return threads_;
  }

 private:
  mutable Mutex mu_;
  CondVar noted_;
  std::vector<std::thread::id> threads_ ACCRUE_GUARDED_BY(mu_);
};

// Another device's, that notes who frees it.
class NotingStorage final : public Buffer::Storage {
 public:
  NotingStorage(Buffer buffer, NotedThreads* freeing)
      : buffer_(std::move(buffer)), freeing_(freeing) {}
  ~NotingStorage() override {
    buffer_ = Buffer();
    freeing_->Note();
  }
  void* data() const override { return buffer_.data(); }
  int64_t size_bytes() const override { return buffer_.size_bytes(); }

 private:
  Buffer buffer_;
  NotedThreads* const freeing_;
};

// A GPU's, whose memory for publications comes when the test lets it, or not at
// all.
class SlowDevice final : public Device {
 public:
  std::string name() const override { return "slow"; }
  bool allocates_host_memory() const override { return false; }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    return Noting(cpu_->Allocate(size_bytes, tag, ledger));
  }
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    asking_.Note();
    gate_.Pass();
    if (refuses_) return absl::ResourceExhaustedError("none left");
    return Noting(cpu_->AllocateHost(size_bytes, tag, ledger));
  }

  Gate& gate() { return gate_; }
  void Refuse(bool refuses) { refuses_ = refuses; }
  // Of all who have asked for memory of it.
  std::vector<std::thread::id> threads() const { return asking_.all(); }
  NotedThreads& freeing() { return freeing_; }

 private:
  absl::StatusOr<Buffer> Noting(absl::StatusOr<Buffer> buffer) {
    if (!buffer.ok()) return buffer;
    return Buffer(
        std::make_unique<NotingStorage>(*std::move(buffer), &freeing_));
  }

  const std::unique_ptr<Device> cpu_ = MakeCpuDevice();
  std::atomic<bool> refuses_{false};
  Gate gate_;
  NotedThreads asking_, freeing_;
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

// It may be gRPC's, for which a watcher held the model.
TEST_F(AllocationTest, WhoLetsGoOfAModelLastFreesNoneOfItsMemory) {
  auto model = harness_.Make(SimpleSpec(70, 1), 1);
  // Until the pool has let go of it.
  while (model.use_count() > 1) std::this_thread::yield();
  model->Delete();
  model.reset();
  // The moments, and what was published.
  const auto threads = device_.freeing().Await(2);
  EXPECT_THAT(threads, Not(Contains(std::this_thread::get_id())));
}

// Or a slow reader's last slice.
TEST_F(AllocationTest, WhoReadsADeletedModelLastFreesNoneOfItsMemory) {
  auto model = harness_.Make(SimpleSpec(70, 1), 1);
  auto read = model->newest();
  model->Delete();
  model.reset();
  EXPECT_EQ(device_.freeing().Await(1).size(), 1);  // the moments
  read.reset();
  const auto threads = device_.freeing().Await(2);
  EXPECT_THAT(threads, Not(Contains(std::this_thread::get_id())));
}

}  // namespace
}  // namespace accrue
