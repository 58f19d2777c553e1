// A model goes back to what is stored on a slow disk: nobody else waits for it.
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <utility>

#include "gtest/gtest.h"
#include "tests/model/harness.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

// The first read of either arrays or held payloads takes as long as is wanted.
class SlowStored : public Stored {
 public:
  SlowStored(Stored stored, bool held)
      : Stored(std::move(stored)), held_is_slow_(held) {}

  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override {
    if (!held_is_slow_) Wait();
    return Stored::Read(array, piece, out);
  }
  absl::StatusOr<ByteChain> ReadHeld(int64_t index) const override {
    if (held_is_slow_) Wait();
    return Stored::ReadHeld(index);
  }
  void AwaitRead() { reached_.get_future().wait(); }
  void LetGo() { let_go_.set_value(); }

 private:
  void Wait() const {
    std::call_once(once_, [this] { reached_.set_value(); });
    going_.wait();
  }

  const bool held_is_slow_;
  mutable std::once_flag once_;
  mutable std::promise<void> reached_;
  std::promise<void> let_go_;
  const std::shared_future<void> going_ = let_go_.get_future().share();
};

// A pool of one thread.
void ExpectThePoolWorksWhileReading(bool held) {
  Harness harness(/*threads=*/1);
  ModelSpec spec = SimpleSpec(3, 2);
  spec.optimizer.buffering = rule::Buffering::kGather;
  const auto model = harness.Make(spec);
  const auto session = harness.Open(*model, "w");
  ASSERT_TRUE(harness.PushNow(*model, session->id, 1, {1, 2, 3}).ok());
  const auto stored = CaptureNow(*model);
  ASSERT_TRUE(stored.ok()) << stored.status();
  const auto slow = std::make_shared<SlowStored>(**stored, held);

  std::promise<absl::StatusOr<Version>> back;
  model->GoBack(slow, [&](absl::StatusOr<Version> version) {
    back.set_value(std::move(version));
  });
  slow->AwaitRead();
  std::promise<void> worked;
  WorkPool& pool = *harness.environment().pool;
  pool.Post(pool.NewLane(), [&] { worked.set_value(); });
  const auto done = worked.get_future();
  EXPECT_EQ(done.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  slow->LetGo();
  const auto version = back.get_future().get();
  EXPECT_TRUE(version.ok()) << version.status();
  done.wait();
}

TEST(SlowSourceTest, WhileArraysAreReadThePoolWorks) {
  ExpectThePoolWorksWhileReading(/*held=*/false);
}

TEST(SlowSourceTest, WhileHeldPushesAreReadThePoolWorks) {
  ExpectThePoolWorksWhileReading(/*held=*/true);
}

}  // namespace
}  // namespace accrue
