// A model at its end: draining, then deleted.
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/cycle_timing.h"
#include "tests/model/harness.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {
namespace {

void Drain(Model& model) {
  std::promise<void> drained;
  model.Drain([&] { drained.set_value(); });
  drained.get_future().wait();
}

TEST(EndingTest, ADrainingModelTakesNoValuesThoughTheyWereInFlight) {
  Harness harness;
  auto model = harness.TryMake(SimpleSpec(2, 1));
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE((*model)->CheckTakesParameters(/*restore=*/true).ok());
  Drain(**model);
  const absl::Status refused = (*model)->CheckTakesParameters(/*restore=*/true);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kDraining);
  EXPECT_EQ(GetErrorInfo(harness.Initialize(**model, 1).status()).reason,
            Reason::kDraining);
  EXPECT_EQ((*model)->newest(), nullptr);
  EXPECT_TRUE((*model)->CheckUsable().ok());
}

TEST(EndingTest, WhoAsksADrainingModelForAChangeIsRefused) {
  Harness harness;
  const auto model = harness.Make(SimpleSpec(1, 4));
  const std::string session = harness.Open(*model, "a")->id;
  ASSERT_TRUE(harness.PushNow(*model, session, 1, {1}).ok());
  Drain(*model);
  const StateImage before = harness.Image(*model);
  for (const absl::Status& refused : {harness.EndCycle(*model).status(),
                                      harness.CloseSession(*model, session),
                                      harness.Open(*model, "a").status()}) {
    EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kDraining) << refused;
  }
  EXPECT_EQ(harness.Image(*model), before);
  // What changes nothing is no concern of the drain's.
  EXPECT_TRUE(harness.Open(*model, "a", session).ok());
  EXPECT_TRUE(harness.CloseSession(*model, "unknown").ok());
}

TEST(EndingTest, NeitherTimeoutsNorAgeChangeADrainingModel) {
  Harness harness;
  harness.environment().session_ttl = absl::Milliseconds(20);
  ModelSpec spec = SimpleSpec(1, 4);
  spec.cycle_timeout = absl::Milliseconds(1);
  const auto model = harness.Make(spec);
  std::string session;
  std::optional<Hold> hold;
  do {  // it may be too old before the drain begins
    hold.reset();
    session = harness.Open(*model, "a")->id;
    hold.emplace(*model);
  } while (model->Sessions().empty());
  auto pushed = harness.Send(*model, harness.NewPush(*model, session, 1, {1}));
  std::promise<void> drained;
  model->Drain([&] { drained.set_value(); });
  hold.reset();
  ASSERT_TRUE(pushed.get().ok());
  drained.get_future().wait();
  Outlast(harness, *model, 2 * harness.environment().session_ttl);
  EXPECT_EQ(model->Describe().version->number, 0);
  EXPECT_EQ(model->Sessions().size(), 1);
}

TEST(EndingTest, WhoeverSubscribesToADeletedModelIsToldAtOnce) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(2, 1));
  model->Delete();
  absl::Status heard;
  auto subscription =
      model->Subscribe([&](const auto& news) { heard = news.status(); });
  EXPECT_EQ(heard.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetErrorInfo(heard).reason, Reason::kModelUnknown);
  EXPECT_EQ(model->CheckUsable().code(), absl::StatusCode::kNotFound);
}

// Calls `meanwhile` before it takes parameters.
class LoadingShard final : public ForwardingShard {
 public:
  LoadingShard(std::unique_ptr<kernels::Shard> shard,
               std::function<void()> meanwhile)
      : ForwardingShard(std::move(shard)), meanwhile_(std::move(meanwhile)) {}

  void Load(std::vector<const float*> groups,
            std::function<void(absl::Status)> done) override {
    meanwhile_();
    ForwardingShard::Load(std::move(groups), std::move(done));
  }

 private:
  const std::function<void()> meanwhile_;
};

TEST(EndingTest, AModelThatIsDeletedWhileItIsInitializedPublishesNothing) {
  Harness harness;
  std::shared_ptr<Model> model;
  harness.environment().make_shard =
      WrappedShards([&model](std::unique_ptr<kernels::Shard> shard, int64_t) {
        return std::make_unique<LoadingShard>(std::move(shard),
                                              [&model] { model->Delete(); });
      });
  model = harness.TryMake(SimpleSpec(2, 1)).value();
  const absl::Status gone = harness.Initialize(*model, 1).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetErrorInfo(gone).reason, Reason::kModelUnknown);
  EXPECT_EQ(model->newest(), nullptr);
  EXPECT_EQ(model->Describe().version, std::nullopt);
}

}  // namespace
}  // namespace accrue
