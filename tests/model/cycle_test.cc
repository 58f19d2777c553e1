// Cycles in a model: short ones, timeouts, groups with different k,
// hyperparameters that change.
#include <future>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/cycle_timing.h"
#include "tests/model/harness.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;

ModelSpec TwoGroups(int64_t k_fast, int64_t k_slow) {
  ModelSpec spec = SimpleSpec(1, k_fast);
  spec.groups.push_back(spec.groups[0]);
  spec.groups[0].name = "fast";
  spec.groups[1].name = "slow";
  spec.groups[1].k = spec.groups[1].update_every = k_slow;
  spec.tensors = {{"f", {1}, "fast"}, {"s", {1}, "slow"}};
  return spec;
}

TEST(CycleTest, EndCycleCountsMissingPushesAsZero) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 4));
  const std::string session = harness.Open(*model, "a")->id;
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {4}).ok());
  auto ended = harness.EndCycle(*model);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->version.number, 1);
  EXPECT_THAT(ended->closed_groups, ElementsAre("all"));
  EXPECT_THAT(ended->missing_pushes, ElementsAre(3));
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-1));
  EXPECT_EQ(model->Describe().short_cycles, 1);
  EXPECT_EQ(model->newest()->facts().missing_pushes, 3);
}

TEST(CycleTest, EndCycleOfAClassicModelDividesByWhatCame) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 4);
  spec.optimizer.buffering = rule::Buffering::kClassic;
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {4}).ok());
  ASSERT_TRUE(harness.PushNow(*model, session, 2, {2}).ok());
  ASSERT_TRUE(harness.EndCycle(*model).ok());
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-3));
  EXPECT_EQ(model->Describe().accumulation_buffer_bytes, 4);
}

TEST(CycleTest, EndCycleWithoutAnOpenCycleDoesNothing) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 4));
  const StateImage before = harness.Image(*model);
  auto ended = harness.EndCycle(*model);
  ASSERT_TRUE(ended.ok());
  EXPECT_TRUE(ended->closed_groups.empty());
  EXPECT_EQ(harness.Image(*model), before);
}

TEST(CycleTest, ARetriedEndCycleCannotCloseTheNextOne) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 4));
  const std::string session = harness.Open(*model, "a")->id;
  const Version version = *model->Describe().version;
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {4}).ok());
  ASSERT_TRUE(harness.EndCycle(*model, version).ok());
  ASSERT_TRUE(harness.PushNow(*model, session, 2, {4}).ok());
  auto again = harness.EndCycle(*model, version);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->closed_groups.empty());
  EXPECT_EQ(again->version.number, 1);
  EXPECT_EQ(model->Describe().groups[0].position, 1);
}

TEST(CycleTest, ATimeoutClosesACycleOnceMinPushesAreIn) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 4);
  spec.cycle_timeout = absl::Milliseconds(20);
  spec.min_pushes = 2;
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  NextVersion next(*model);
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {4}).ok());
  Outlast(harness, *model, spec.cycle_timeout + absl::Milliseconds(1));
  EXPECT_EQ(model->Describe().version->number, 0);
  EXPECT_EQ(model->Describe().groups[0].position, 1);
  ASSERT_TRUE(harness.PushNow(*model, session, 2, {4}).ok());
  auto publication = next.Wait();
  EXPECT_EQ(publication->facts().missing_pushes, 2);
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-2));
}

// The restored cycle is as old as the one before: its first push was the
// model's.
TEST(CycleTest, ATimeoutFromBeforeARestoreClosesNothingOfWhatIsRestored) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 4);
  const auto other = harness.Make(spec);
  ASSERT_TRUE(
      harness.PushNow(*other, harness.Open(*other, "a")->id, 1, {1}).ok());
  const std::shared_ptr<Stored> stored = *CaptureNow(*other);

  spec.cycle_timeout = absl::Milliseconds(50);
  const auto model = harness.Make(spec);
  ASSERT_TRUE(
      harness.PushNow(*model, harness.Open(*model, "a")->id, 1, {1}).ok());
  std::promise<absl::StatusOr<Version>> restored;
  {
    const Hold hold(*model);
    model->GoBack(
        stored, [&](auto version) { restored.set_value(std::move(version)); });
    std::promise<void> due;
    harness.environment().timers->At(absl::Now() + spec.cycle_timeout,
                                     [&] { due.set_value(); });
    due.get_future().wait();
    // So that its own time never runs out.
    harness.environment().timers->Stop();
  }
  const auto version = restored.get_future().get();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(harness.Image(*model).cycles[0].position, 1);
  EXPECT_EQ(model->Describe().version, *version);
}

TEST(CycleTest, AnOverdueCycleClosesWithThePushThatMakesItEnough) {
  Harness harness;
  ModelSpec spec = SimpleSpec(1, 4);
  spec.cycle_timeout = absl::Milliseconds(1);
  spec.min_pushes = 3;
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  NextVersion next(*model);
  for (int64_t i = 1; i <= 2; ++i) {
    ASSERT_TRUE(harness.PushNow(*model, session, i, {4}).ok());
    Outlast(harness, *model, 2 * spec.cycle_timeout);
    EXPECT_EQ(model->Describe().groups[0].position, i);
  }
  ASSERT_TRUE(harness.PushNow(*model, session, 3, {4}).ok());
  EXPECT_EQ(next.Wait()->facts().missing_pushes, 1);
}

TEST(CycleTest, AGroupThatDidNotUpdateSharesItsBufferWithTheVersionBefore) {
  Harness harness;
  auto model = harness.Make(TwoGroups(2, 4));
  const std::string session = harness.Open(*model, "a")->id;
  auto zero = model->newest();
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {1, 1}).ok());
  ASSERT_TRUE(harness.PushNow(*model, session, 2, {1, 1}).ok());
  auto one = model->newest();
  EXPECT_EQ(one->facts().version.number, 1);
  EXPECT_THAT(one->facts().changed_groups, ElementsAre(0));
  EXPECT_EQ(one->facts().changed_bytes, 4);
  EXPECT_EQ(one->group(1), zero->group(1));
  EXPECT_NE(one->group(0), zero->group(0));
  ASSERT_TRUE(harness.PushNow(*model, session, 3, {1, 1}).ok());
  ASSERT_TRUE(harness.PushNow(*model, session, 4, {1, 1}).ok());
  EXPECT_THAT(model->newest()->facts().changed_groups, ElementsAre(0, 1));
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-2, -1));
}

TEST(CycleTest, ATimeoutKeepsNestedCyclesNested) {
  Harness harness;
  ModelSpec spec = TwoGroups(2, 4);
  spec.cycle_timeout = absl::Milliseconds(20);
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "a")->id;
  NextVersion next(*model);
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {2, 4}).ok());
  next.Wait();
  const ModelDescription now = model->Describe();
  EXPECT_EQ(now.groups[0].updates, 1);
  EXPECT_EQ(now.groups[1].updates, 0);
  EXPECT_EQ(now.groups[1].position, 2);  // the missing push counts
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-1, 0));
}

// The outer group counts it when it updates, by a push or by a close.
TEST(CycleTest, APushSkippedInAnOuterCycleIsMissingFromIt) {
  Harness harness;
  ModelSpec spec = TwoGroups(2, 4);
  spec.cycle_timeout = absl::Milliseconds(20);
  auto model = harness.Make(spec);
  const std::string a = harness.Open(*model, "a")->id;
  const std::string b = harness.Open(*model, "b")->id;
  auto push_and_time_out = [&](int64_t sequence) {
    NextVersion next(*model);
    EXPECT_TRUE(harness.PushNow(*model, a, sequence, {2, 4}).ok());
    return next.Wait()->facts();
  };
  EXPECT_EQ(push_and_time_out(1).missing_pushes, 1);
  std::future<absl::StatusOr<PushOutcome>> first, second;
  {
    const Hold hold(*model);  // no timeout may come between the two
    first = harness.Send(*model, harness.NewPush(*model, a, 2, {2, 4}));
    second = harness.Send(*model, harness.NewPush(*model, b, 1, {2, 4}));
  }
  ASSERT_TRUE(first.get().ok());
  ASSERT_TRUE(second.get()->published);
  EXPECT_THAT(model->newest()->facts().changed_groups, ElementsAre(0, 1));
  EXPECT_EQ(model->newest()->facts().missing_pushes, 1);

  harness.Image(*model);  // a turn of the executor: that news is out
  push_and_time_out(3);
  const Publication::Facts closed = push_and_time_out(4);
  EXPECT_THAT(closed.changed_groups, ElementsAre(0, 1));
  EXPECT_EQ(closed.missing_pushes, 2);
  EXPECT_EQ(model->Describe().short_cycles, 4);
}

TEST(CycleTest, EndCycleClosesEveryGroup) {
  Harness harness;
  auto model = harness.Make(TwoGroups(2, 4));
  const std::string session = harness.Open(*model, "a")->id;
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {2, 4}).ok());
  auto ended = harness.EndCycle(*model);
  EXPECT_THAT(ended->closed_groups, ElementsAre("fast", "slow"));
  EXPECT_THAT(ended->missing_pushes, ElementsAre(1, 3));
  EXPECT_EQ(ended->version.number, 1);
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-1, -1));
}

TEST(CycleTest, HyperparametersChangeAtTheNextCycle) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 2));
  const std::string session = harness.Open(*model, "a")->id;
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {1}).ok());
  ASSERT_TRUE(
      harness
          .Update(*model,
                  {{"all", [](auto& hyper) { hyper.learning_rate = 10; }}})
          .ok());
  EXPECT_EQ(model->Describe().groups[0].learning_rate, 1);
  EXPECT_EQ(model->Describe().spec.groups[0].hyper.learning_rate, 10);
  ASSERT_TRUE(harness.PushNow(*model, session, 2, {1}).ok());
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-1));
  EXPECT_EQ(model->Describe().groups[0].learning_rate, 10);
  ASSERT_TRUE(harness.PushNow(*model, session, 3, {1}).ok());
  ASSERT_TRUE(harness.PushNow(*model, session, 4, {1}).ok());
  EXPECT_THAT(harness.Parameters(*model), ElementsAre(-11));
}

TEST(CycleTest, AnUpdateOfHyperparametersIsAllOrNothing) {
  Harness harness;
  auto model = harness.Make(TwoGroups(2, 4));
  auto set = [](double rate) {
    return [rate](rule::Hyperparameters& hyper) { hyper.learning_rate = rate; };
  };
  const ModelSpec before = model->Describe().spec;
  EXPECT_EQ(
      harness.Update(*model, {{"fast", set(2)}, {"slow", set(-1)}}).code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(harness.Update(*model, {{"none", set(2)}}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model->Describe().spec, before);
  ASSERT_TRUE(harness.Update(*model, {{"", set(3)}}).ok());
  EXPECT_EQ(model->Describe().spec.groups[1].hyper.learning_rate, 3);
}

TEST(CycleTest, LossesAreAveragedOverAWindow) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 2));
  const std::string session = harness.Open(*model, "a")->id;
  for (int64_t i = 1; i <= 2; ++i) {
    auto push = harness.NewPush(*model, session, i, {0});
    push->header.loss = static_cast<double>(i);
    ASSERT_TRUE(harness.PushNow(*model, std::move(push)).ok());
  }
  EXPECT_EQ(model->newest()->facts().loss, 1.5);
  EXPECT_EQ(model->Describe().last_loss, 1.5);
}

TEST(CycleTest, SgdWithoutMomentumHasAnAccumulationBufferByAnotherName) {
  Harness harness;
  EXPECT_EQ(
      harness.Make(SimpleSpec(10, 4))->Describe().accumulation_buffer_bytes,
      40);
  EXPECT_EQ(
      harness.Make(SimpleSpec(10, 1))->Describe().accumulation_buffer_bytes, 0);
  ModelSpec spec = SimpleSpec(10, 4);
  spec.groups[0].hyper.beta1 = 0.9;
  EXPECT_EQ(harness.Make(spec)->Describe().accumulation_buffer_bytes, 0);
}

}  // namespace
}  // namespace accrue
