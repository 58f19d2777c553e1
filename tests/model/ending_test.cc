// A model at its end: draining, then deleted.
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"
#include "tests/model/wrapped_shards.h"

namespace accrue {
namespace {

TEST(EndingTest, ADrainingModelTakesNoNewValuesButThoseInFlight) {
  Harness harness;
  auto model = harness.TryMake(SimpleSpec(2, 1));
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE((*model)->CheckTakesParameters(/*restore=*/true).ok());
  std::promise<void> drained;
  (*model)->Drain([&] { drained.set_value(); });
  drained.get_future().wait();
  const absl::Status refused = (*model)->CheckTakesParameters(/*restore=*/true);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kDraining);
  EXPECT_TRUE(harness.Initialize(**model, 1).ok());
  EXPECT_NE((*model)->newest(), nullptr);
  EXPECT_TRUE((*model)->CheckUsable().ok());
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
