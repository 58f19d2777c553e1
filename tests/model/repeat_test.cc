// A push that is sent again learns its fate, whatever happens in between.
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

class RepeatTest : public ::testing::Test {
 protected:
  RepeatTest()
      : model_(harness_.Make(SimpleSpec(1, 1))),
        a_(harness_.Open(*model_, "a")->id),
        b_(harness_.Open(*model_, "b")->id) {}

  // What Begin knew of ends: the payload is here.
  absl::StatusOr<PushOutcome> Complete(std::unique_ptr<Push> push,
                                       const Arrival& arrival) {
    std::promise<absl::StatusOr<PushOutcome>> promise;
    push->done = [&](auto outcome) { promise.set_value(std::move(outcome)); };
    model_->Submit(std::move(push), &arrival);
    return promise.get_future().get();
  }

  Harness harness_;
  const std::shared_ptr<Model> model_;
  const std::string a_, b_;
};

TEST_F(RepeatTest, IsNotStaleWhenAnotherPushPublishesWhileItArrives) {
  const auto first = harness_.PushNow(*model_, a_, 1, {1});
  ASSERT_TRUE(first.ok()) << first.status();
  auto again = harness_.NewPush(*model_, a_, 1, {1});
  auto arrival = std::make_shared<NotedArrival>();
  ASSERT_TRUE(model_->Begin(again->header, arrival).ok());
  ASSERT_TRUE(harness_.PushNow(*model_, b_, 1, {1})->published);
  EXPECT_FALSE(arrival->aborted());
  const auto answer = Complete(std::move(again), *arrival);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->duplicate);
  EXPECT_EQ(answer->folded_pushes, first->folded_pushes);
}

TEST_F(RepeatTest, IsNotStaleByTheFoldOfItsOwnFirstStream) {
  auto first = harness_.NewPush(*model_, a_, 1, {1});
  auto again = harness_.NewPush(*model_, a_, 1, {1});
  std::optional<Hold> hold(std::in_place, *model_);
  auto folded = harness_.Send(*model_, std::move(first));  // is queued
  auto arrival = std::make_shared<NotedArrival>();
  ASSERT_TRUE(model_->Begin(again->header, arrival).ok());
  hold.reset();
  ASSERT_TRUE(folded.get()->published);
  EXPECT_FALSE(arrival->aborted());
  const auto answer = Complete(std::move(again), *arrival);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->duplicate);
  EXPECT_EQ(model_->Describe().folded_pushes, 1);
}

TEST_F(RepeatTest, WaitsForItsQueuedFirstStreamAndGetsItsAnswer) {
  auto first = harness_.NewPush(*model_, a_, 1, {1});
  auto again = harness_.NewPush(*model_, a_, 1, {1});
  std::optional<Hold> hold(std::in_place, *model_);
  auto folded = harness_.Send(*model_, std::move(first));
  auto repeated = harness_.Send(*model_, std::move(again));
  hold.reset();
  const auto outcome = folded.get();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_FALSE(outcome->duplicate);
  const auto answer = repeated.get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->duplicate);
  EXPECT_EQ(answer->folded_pushes, outcome->folded_pushes);
  EXPECT_EQ(model_->Describe().folded_pushes, 1);
}

}  // namespace
}  // namespace accrue
