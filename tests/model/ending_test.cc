// A model at its end: draining, then deleted.
#include <future>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"

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

}  // namespace
}  // namespace accrue
