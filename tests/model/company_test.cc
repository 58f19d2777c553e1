// Pushes that wait for others to be folded with: server/model/model_company.cc.
#include <atomic>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/harness.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {
namespace {

class CountingShard final : public ForwardingShard {
 public:
  CountingShard(std::unique_ptr<kernels::Shard> shard, std::atomic<int>* passes)
      : ForwardingShard(std::move(shard)), passes_(passes) {}
  void Run(
      kernels::Pass pass,
      std::function<void(absl::StatusOr<kernels::PassResult>)> done) override {
    ++*passes_;
    ForwardingShard::Run(std::move(pass), std::move(done));
  }

 private:
  std::atomic<int>* const passes_;
};

// One that is complete in `left`, by its own account, until it stops.
class PacedArrival final : public Arrival {
 public:
  explicit PacedArrival(absl::Duration left) : left_(left) {}
  void Stop() { stopped_ = true; }
  void Abort(absl::Status) override {}
  absl::Duration TimeLeft() const override {
    return stopped_ ? absl::InfiniteDuration() : left_;
  }

 private:
  const absl::Duration left_;
  std::atomic<bool> stopped_{false};
};

using Answer = std::future<absl::StatusOr<PushOutcome>>;

class CompanyTest : public testing::Test {
 protected:
  // Pushes of a model with cycles of k may wait for `patience`.
  void Make(int64_t k, absl::Duration patience,
            rule::Buffering buffering = rule::Buffering::kEmbedded,
            int64_t update_every = 0) {
    harness_.environment().pass_time = patience / kElems;
    harness_.environment().make_shard =
        WrappedShards([this](std::unique_ptr<kernels::Shard> shard, int64_t) {
          return std::make_unique<CountingShard>(std::move(shard), &passes_);
        });
    ModelSpec spec = SimpleSpec(kElems, k);
    spec.optimizer.buffering = buffering;
    if (update_every > 0) {
      spec.optimizer.decay = rule::Decay::kSliding;
      spec.groups[0].hyper.beta1 = 0.9;
      spec.groups[0].update_every = update_every;
    }
    model_ = harness_.Make(spec);
    passes_ = 0;
  }

  std::unique_ptr<Push> NewPush(const char* worker) {
    const std::string session = harness_.Open(*model_, worker)->id;
    return harness_.NewPush(*model_, session, 1, {1, 2});
  }
  Answer Send(const char* worker) {
    return harness_.Send(*model_, NewPush(worker));
  }
  // A push whose last byte is `left` away.
  std::unique_ptr<Push> Begin(const char* worker, absl::Duration left) {
    auto push = NewPush(worker);
    arrival_ = std::make_shared<PacedArrival>(left);
    EXPECT_TRUE(model_->Begin(push->header, arrival_).ok());
    return push;
  }
  Answer Complete(std::unique_ptr<Push> push) {
    auto answer = std::make_shared<std::promise<absl::StatusOr<PushOutcome>>>();
    push->done = [answer](absl::StatusOr<PushOutcome> outcome) {
      answer->set_value(std::move(outcome));
    };
    Answer future = answer->get_future();
    model_->Submit(std::move(push), arrival_.get());
    return future;
  }

  static constexpr int64_t kElems = 2;
  std::atomic<int> passes_{0};
  Harness harness_;
  std::shared_ptr<Model> model_;
  std::shared_ptr<PacedArrival> arrival_;
};

TEST_F(CompanyTest, APushWaitsForOneThatIsNearlyThereAndSharesItsPass) {
  Make(/*k=*/4, absl::Hours(1));
  auto last = Begin("b", absl::Minutes(1));
  Answer first = Send("a");
  Answer second = Complete(std::move(last));
  ASSERT_TRUE(first.get().ok());
  ASSERT_TRUE(second.get().ok());
  EXPECT_EQ(passes_, 1);
}

TEST_F(CompanyTest, ItDoesNotWaitForWhatIsFarOrUnknown) {
  Make(/*k=*/4, absl::Hours(1));
  for (const absl::Duration left : {absl::Hours(2), absl::InfiniteDuration()}) {
    auto last = Begin("b", left);
    ASSERT_TRUE(Send(left == absl::Hours(2) ? "a" : "c").get().ok());
    model_->Leave(arrival_.get());
  }
  EXPECT_EQ(passes_, 2);
}

TEST_F(CompanyTest, ACycleThatIsCompleteDoesNotWait) {
  Make(/*k=*/2, absl::Hours(1));
  auto last = Begin("c", absl::ZeroDuration());
  auto push = NewPush("b");
  Answer first = Send("a");
  Answer second = harness_.Send(*model_, std::move(push));
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get()->published);
  EXPECT_EQ(passes_, 1);
}

// One that ends with every push shares no pass.
TEST_F(CompanyTest, WhatEndsACycleIsUpdateEvery) {
  Make(/*k=*/4, absl::Hours(1), rule::Buffering::kEmbedded, /*update_every=*/1);
  auto last = Begin("b", absl::ZeroDuration());
  EXPECT_TRUE(Send("a").get()->published);
}

TEST_F(CompanyTest, ItDoesNotWaitOnForOneThatHasStopped) {
  Make(/*k=*/4, absl::Hours(1));
  auto last = Begin("b", absl::Milliseconds(1));
  auto push = NewPush("a");
  arrival_->Stop();
  EXPECT_TRUE(harness_.Send(*model_, std::move(push)).get().ok());
  // In the middle of the wait.
  auto other = Begin("c", absl::Milliseconds(1));
  push = NewPush("d");
  Answer waiting = harness_.Send(*model_, std::move(push));
  arrival_->Stop();
  EXPECT_TRUE(waiting.get().ok());
}

TEST_F(CompanyTest, PatienceEndsThoughNobodyComes) {
  Make(/*k=*/4, absl::Milliseconds(1));
  auto last = Begin("b", absl::ZeroDuration());
  EXPECT_TRUE(Send("a").get().ok());
  EXPECT_EQ(passes_, 1);
}

TEST_F(CompanyTest, WhateverElseIsToBeDoneEndsTheWait) {
  Make(/*k=*/4, absl::Hours(1));
  auto last = Begin("b", absl::ZeroDuration());
  Answer first = Send("a");
  const auto ended = harness_.EndCycle(*model_);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(CompanyTest, WhatIsHeldForItsCycleDoesNotWait) {
  Make(/*k=*/4, absl::Hours(1), rule::Buffering::kGather);
  auto last = Begin("b", absl::ZeroDuration());
  EXPECT_TRUE(Send("a").get().ok());
}

}  // namespace
}  // namespace accrue
