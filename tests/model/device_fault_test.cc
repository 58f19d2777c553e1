// A device that fails poisons the models whose pass it was running, and no
// others.
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/failing_shard.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kFaulty = 3;  // elements of the models that fail

class DeviceFaultTest : public ::testing::Test {
 protected:
  // The second pass fails.
  void Make(int64_t k) {
    harness_.environment().make_shard = FailingShards(kFaulty, 1);
    model_ = harness_.Make(SimpleSpec(kFaulty, k));
    a_ = harness_.Open(*model_, "a")->id;
    b_ = harness_.Open(*model_, "b")->id;
    ASSERT_TRUE(harness_.PushNow(*model_, a_, 1, {1, 1, 1}).ok());
  }
  absl::Status PushStatus(const std::string& session, int64_t sequence) {
    return harness_.PushNow(*model_, session, sequence, {1, 1, 1}).status();
  }
  void ExpectFault(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    ExpectInfo(status, Reason::kDeviceFault);
  }
  void ExpectPoisoned(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    ExpectInfo(status, Reason::kPoisoned);
  }
  void ExpectInfo(const absl::Status& status, Reason reason) {
    const ErrorInfo info = GetErrorInfo(status);
    EXPECT_EQ(info.reason, reason) << status;
    EXPECT_EQ(info.subject, "m");
    EXPECT_EQ(info.lineage, model_->Describe().version->lineage);
  }

  Harness harness_;
  std::shared_ptr<Model> model_;
  std::string a_, b_;
};

TEST_F(DeviceFaultTest, ThePushIsToldAndTheModelRefusesAllUntilItIsRestored) {
  Make(1);
  ExpectFault(PushStatus(a_, 2));
  ExpectPoisoned(PushStatus(a_, 2));
  ExpectPoisoned(PushStatus(b_, 1));
  ExpectPoisoned(harness_.Open(*model_, "c").status());
  ExpectPoisoned(harness_.EndCycle(*model_).status());
  ExpectPoisoned(harness_.Update(*model_, {}));
  ExpectPoisoned(model_->CheckUsable());
  const ModelDescription now = model_->Describe();
  EXPECT_EQ(now.state, ModelState::kPoisoned);
  EXPECT_THAT(now.poison_reason, HasSubstr("the device is lost"));
  EXPECT_EQ(now.version->number, 1);
  EXPECT_EQ(now.folded_pushes, 1);
  ASSERT_TRUE(harness_.Initialize(*model_, 0).ok());
  EXPECT_TRUE(model_->CheckUsable().ok());
  EXPECT_TRUE(PushStatus(a_, 2).ok());
}

TEST_F(DeviceFaultTest, EveryPushOfThePassIsTold) {
  Make(4);
  std::optional<Hold> hold(std::in_place, *model_);
  auto one =
      harness_.Send(*model_, harness_.NewPush(*model_, a_, 2, {1, 1, 1}));
  auto other =
      harness_.Send(*model_, harness_.NewPush(*model_, b_, 1, {1, 1, 1}));
  hold.reset();
  ExpectFault(one.get().status());
  ExpectFault(other.get().status());
}

TEST_F(DeviceFaultTest, APushOfTheNextPassIsRefused) {
  Make(2);
  std::optional<Hold> hold(std::in_place, *model_);
  auto last =
      harness_.Send(*model_, harness_.NewPush(*model_, a_, 2, {1, 1, 1}));
  auto next =
      harness_.Send(*model_, harness_.NewPush(*model_, b_, 1, {1, 1, 1}));
  hold.reset();
  ExpectFault(last.get().status());
  ExpectPoisoned(next.get().status());
}

TEST_F(DeviceFaultTest, WhoeverWaitsHearsOfIt) {
  Make(1);
  auto half = std::make_shared<NotedArrival>();
  const auto push = harness_.NewPush(*model_, b_, 1, {1, 1, 1});
  ASSERT_TRUE(model_->Begin(push->header, half).ok());
  std::promise<absl::Status> early;
  // News of the version before may come first: a push is answered before.
  auto subscription = model_->Subscribe([&](const auto& news) {
    if (!news.ok()) early.set_value(news.status());
  });
  ExpectFault(PushStatus(a_, 2));
  ExpectPoisoned(half->Why());
  model_->Leave(half.get());
  ExpectPoisoned(early.get_future().get());
  // Before Subscribe returns.
  absl::Status heard;
  auto second =
      model_->Subscribe([&](const auto& news) { heard = news.status(); });
  ExpectPoisoned(heard);
}

TEST_F(DeviceFaultTest, ACloseThatFailsPoisonsToo) {
  Make(4);
  const auto ended = harness_.EndCycle(*model_);
  ExpectFault(ended.status());
  ExpectPoisoned(PushStatus(a_, 2));
}

TEST_F(DeviceFaultTest, OtherModelsGoOn) {
  Make(1);
  ModelSpec spec = SimpleSpec(kFaulty + 1, 1);
  spec.name = "sound";
  auto sound = harness_.Make(spec);
  const std::string session = harness_.Open(*sound, "a")->id;
  ExpectFault(PushStatus(a_, 2));
  for (int64_t i = 1; i <= 3; ++i) {
    EXPECT_TRUE(harness_.PushNow(*sound, session, i, {1, 1, 1, 1}).ok());
  }
  EXPECT_EQ(sound->Describe().version->number, 3);
}

TEST_F(DeviceFaultTest, APoisonedModelCanBeDeleted) {
  Make(1);
  ExpectFault(PushStatus(a_, 2));
  model_->Delete();
  EXPECT_EQ(PushStatus(a_, 2).code(), absl::StatusCode::kNotFound);
}

using Told = std::function<void(absl::Status)>;

// A shard whose device has not taken its parameters before the test says so.
class SlowShard final : public ForwardingShard {
 public:
  SlowShard(std::unique_ptr<kernels::Shard> shard, std::promise<Told>* asked)
      : ForwardingShard(std::move(shard)), asked_(asked) {}
  void Load(std::vector<const float*>, Told done) override {
    asked_->set_value(std::move(done));
  }

 private:
  std::promise<Told>* const asked_;
};

TEST(SlowDeviceTest, WhileAModelWaitsForItsDeviceNoThreadDoes) {
  constexpr int64_t kSlow = 5;
  std::promise<Told> asked;
  Harness harness(/*threads=*/1);
  harness.environment().make_shard =
      WrappedShards([&asked](std::unique_ptr<kernels::Shard> shard,
                             int64_t elems) -> std::unique_ptr<kernels::Shard> {
        if (elems != kSlow) return shard;
        return std::make_unique<SlowShard>(std::move(shard), &asked);
      });
  const auto slow = harness.TryMake(SimpleSpec(kSlow, 1));
  ASSERT_TRUE(slow.ok()) << slow.status();
  std::promise<absl::StatusOr<Version>> answer;
  Initialization ones;
  ones.initializers = {{.tensor = "w", .a = 1}};
  (*slow)->Initialize(std::move(ones),
                      [&](auto version) { answer.set_value(version); });
  const Told told = asked.get_future().get();

  const auto other = harness.Make(SimpleSpec(3, 1));
  const std::string session = harness.Open(*other, "a")->id;
  EXPECT_TRUE(harness.PushNow(*other, session, 1, {1, 1, 1}).ok());
  EXPECT_EQ((*slow)->newest(), nullptr);
  told(absl::OkStatus());
  EXPECT_TRUE(answer.get_future().get().ok());
  EXPECT_EQ(harness.Parameters(**slow), std::vector<float>(kSlow, 1));
}

}  // namespace
}  // namespace accrue
