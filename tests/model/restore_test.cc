// A poisoned model that is initialized again is a new one, but for its
// sessions.
#include <future>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/flawed_shard.h"
#include "tests/model/harness.h"
#include "tests/model/holding_reader.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kElems = 5;

struct Kind {
  std::string name;
  rule::Optimizer optimizer = rule::Optimizer::kSgd;
  rule::Buffering buffering = rule::Buffering::kEmbedded;
  bool nesterov = false;
};

void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class RestoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  RestoreTest() { harness_.environment().make_shard = FlawedShards(flaws_); }

  static ModelSpec Spec(const Kind& kind = {}) {
    ModelSpec spec = SimpleSpec(kElems, 3);
    spec.optimizer.optimizer = kind.optimizer;
    spec.optimizer.buffering = kind.buffering;
    spec.optimizer.nesterov = kind.nesterov;
    spec.groups[0].hyper.beta1 = 0.9;
    return spec;
  }

  absl::StatusOr<PushOutcome> Push(Model& model, const std::string& session,
                                   int64_t sequence, float value) {
    auto push = harness_.NewPush(model, session, sequence,
                                 {value, -value, 0.5f * value, 2 * value, 1});
    push->header.loss = static_cast<double>(value);
    return harness_.PushNow(model, std::move(push));
  }
  // A cycle of three, and what is left of the next.
  void Train(Model& model, const std::string& session, int64_t sequence,
             int64_t pushes = 5) {
    for (int64_t i = 0; i < pushes; ++i) {
      ASSERT_TRUE(
          Push(model, session, sequence + i, 0.25f * static_cast<float>(i + 1))
              .ok());
    }
  }
  // The pass that fails: a fold, or under GATHER the whole cycle's.
  void Poison(Model& model, const std::string& session, int64_t sequence) {
    flaws_.run = true;
    EXPECT_EQ(GetErrorInfo(Push(model, session, sequence, 1).status()).reason,
              Reason::kDeviceFault);
    flaws_.run = false;
    ASSERT_EQ(model.Describe().state, ModelState::kPoisoned);
  }

  Flaws flaws_;
  Harness harness_;
};

class RestoreOfEachKindTest : public RestoreTest {};

TEST_P(RestoreOfEachKindTest, ItIsAsANewModel) {
  const auto model = harness_.Make(Spec(GetParam()), 1);
  const std::string session = harness_.Open(*model, "a")->id;
  Train(*model, session, 1);
  // What its first life leaves behind: a short cycle, another learning rate.
  ASSERT_TRUE(harness_.EndCycle(*model).ok());
  ASSERT_TRUE(harness_
                  .Update(*model, {{"",
                                    [](rule::Hyperparameters& hyper) {
                                      hyper.learning_rate = 0.125;
                                    }}})
                  .ok());
  Train(*model, session, 6);
  const Version old = *model->Describe().version;
  Poison(*model, session, 11);

  const auto version = harness_.Initialize(*model, 2);
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_NE(version->lineage, old.lineage);
  const auto fresh = harness_.Make(Spec(GetParam()), 2);
  const std::string its = harness_.Open(*fresh, "a")->id;
  const auto expect_same = [&](int64_t sequence) {
    StateImage got = Anonymous(harness_.Image(*model));
    StateImage want = Anonymous(harness_.Image(*fresh));
    // Its sequences go on.
    EXPECT_EQ(std::get<2>(got.sessions[0]), sequence);
    std::get<2>(got.sessions[0]) = std::get<2>(want.sessions[0]);
    EXPECT_TRUE(got == want);
    const ModelDescription now = model->Describe(), other = fresh->Describe();
    EXPECT_EQ(now.state, ModelState::kReady);
    EXPECT_THAT(now.poison_reason, IsEmpty());
    EXPECT_EQ(now.last_loss, other.last_loss);
    EXPECT_EQ(now.short_cycles, other.short_cycles);
    EXPECT_EQ(now.groups[0].learning_rate, other.groups[0].learning_rate);
    EXPECT_EQ(now.groups[0].noise.has_value(),
              other.groups[0].noise.has_value());
    EXPECT_EQ(now.spec, other.spec);
  };
  expect_same(10);
  const auto stored = CaptureNow(*model);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ((*stored)->state().window, 0);
  Train(*model, session, 11);
  Train(*fresh, its, 1);
  expect_same(15);
}

INSTANTIATE_TEST_SUITE_P(
    All, RestoreOfEachKindTest,
    ::testing::Values(Kind{.name = "Nesterov", .nesterov = true},
                      Kind{.name = "Adam", .optimizer = rule::Optimizer::kAdam},
                      Kind{.name = "Classic",
                           .optimizer = rule::Optimizer::kAdam,
                           .buffering = rule::Buffering::kClassic},
                      Kind{.name = "Gather",
                           .buffering = rule::Buffering::kGather}),
    [](const auto& info) { return info.param.name; });

TEST_F(RestoreTest, OnlyAPoisonedOneTakesNewParametersAndOnlyOnce) {
  const auto model = harness_.Make(Spec());
  EXPECT_EQ(GetErrorInfo(model->CheckTakesParameters(/*restore=*/true)).reason,
            Reason::kAlreadyInitialized);
  const std::string session = harness_.Open(*model, "a")->id;
  Poison(*model, session, 1);
  EXPECT_TRUE(model->CheckTakesParameters(/*restore=*/true).ok());
  ASSERT_TRUE(harness_.Initialize(*model, 2).ok());
  const Version version = *model->Describe().version;
  const absl::Status second = harness_.Initialize(*model, 3).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(GetErrorInfo(second).lineage, version.lineage);
  EXPECT_EQ(harness_.Parameters(*model), std::vector<float>(kElems, 2));
}

// A worker that creates or opens its model has parameters for a new one only,
// however long they have been on their way.
TEST_F(RestoreTest, ParametersThatAreNotToRestoreItAreRefused) {
  const auto model = harness_.Make(Spec());
  const std::string session = harness_.Open(*model, "a")->id;
  Train(*model, session, 1, 1);
  Poison(*model, session, 2);
  const ModelDescription before = model->Describe();
  EXPECT_EQ(GetErrorInfo(model->CheckTakesParameters(/*restore=*/false)).reason,
            Reason::kPoisoned);
  const absl::Status refused =
      harness_.Initialize(*model, 2, /*restore=*/false).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kPoisoned);
  EXPECT_EQ(model->Describe().state, ModelState::kPoisoned);
  EXPECT_EQ(model->Describe().version, before.version);
}

TEST_F(RestoreTest, WhatCannotBeParametersLeavesItPoisoned) {
  const auto model = harness_.Make(Spec());
  const std::string session = harness_.Open(*model, "a")->id;
  Poison(*model, session, 1);
  std::promise<absl::StatusOr<Version>> answer;
  Initialization nothing;
  nothing.restore = true;
  model->Initialize(std::move(nothing),
                    [&](auto version) { answer.set_value(version); });
  EXPECT_EQ(answer.get_future().get().status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model->Describe().state, ModelState::kPoisoned);
  EXPECT_THAT(model->Describe().poison_reason, HasSubstr("the pass failed"));
}

TEST_F(RestoreTest, AGradientOfTheOldLineageIsRefused) {
  const auto model = harness_.Make(Spec());
  const std::string session = harness_.Open(*model, "a")->id;
  auto old = harness_.NewPush(*model, session, 1, std::vector<float>(kElems));
  Poison(*model, session, 1);
  ASSERT_TRUE(harness_.Initialize(*model, 2).ok());
  EXPECT_EQ(
      GetErrorInfo(harness_.PushNow(*model, std::move(old)).status()).reason,
      Reason::kLineageChanged);
  EXPECT_TRUE(Push(*model, session, 1, 1).ok());
}

TEST_F(RestoreTest, AWorkersShareOfTheFirstVersionIsWholeAgain) {
  ModelSpec spec = Spec();
  spec.max_pushes_per_worker = 1;
  const auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  const std::string b = harness_.Open(*model, "b")->id;
  ASSERT_TRUE(Push(*model, a, 1, 1).ok());
  Poison(*model, b, 1);
  ASSERT_TRUE(harness_.Initialize(*model, 2).ok());
  EXPECT_TRUE(Push(*model, a, 2, 1).ok());
}

// The device is as bad as before.
TEST_F(RestoreTest, ADeviceThatFailsAgainLeavesItPoisoned) {
  const auto model = harness_.Make(Spec());
  const std::string session = harness_.Open(*model, "a")->id;
  Poison(*model, session, 1);
  const std::string lineage = model->Describe().version->lineage;
  flaws_.reset = true;
  for (std::atomic<bool>* flaw : {&flaws_.make, &flaws_.load}) {
    *flaw = true;
    const absl::Status failed = harness_.Initialize(*model, 2).status();
    EXPECT_EQ(failed.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(GetErrorInfo(failed).reason, Reason::kDeviceFault);
    EXPECT_EQ(GetErrorInfo(failed).lineage, lineage);
    const ModelDescription now = model->Describe();
    EXPECT_EQ(now.state, ModelState::kPoisoned);
    EXPECT_THAT(
        now.poison_reason,
        HasSubstr(flaw == &flaws_.make ? "no device left" : "the load"));
    *flaw = false;
  }
  ASSERT_TRUE(harness_.Initialize(*model, 2).ok());
  EXPECT_TRUE(Push(*model, session, 1, 1).ok());
}

TEST_F(RestoreTest, WhereItsShardCannotBeResetItGetsAnother) {
  const auto model = harness_.Make(Spec());
  const std::string session = harness_.Open(*model, "a")->id;
  Train(*model, session, 1);
  Poison(*model, session, 6);
  flaws_.reset = true;
  ASSERT_TRUE(harness_.Initialize(*model, 2).ok());
  EXPECT_EQ(harness_.Image(*model).momentum, std::vector<float>(kElems));
  EXPECT_EQ(harness_.Parameters(*model), std::vector<float>(kElems, 2));
  Train(*model, session, 6);
}

TEST_F(RestoreTest, AModelWhoseFirstParametersAreNotTakenIsPoisonedToo) {
  const auto model = harness_.TryMake(Spec());
  ASSERT_TRUE(model.ok()) << model.status();
  flaws_.load = true;
  EXPECT_EQ(GetErrorInfo(harness_.Initialize(**model, 2).status()).reason,
            Reason::kDeviceFault);
  EXPECT_EQ((*model)->Describe().state, ModelState::kPoisoned);
  EXPECT_EQ((*model)->newest(), nullptr);
  flaws_.load = false;
  EXPECT_TRUE(harness_.Initialize(**model, 2).ok());
  EXPECT_EQ(harness_.Parameters(**model), std::vector<float>(kElems, 2));
}

// A poisoned model that has no room for new parameters: a reader holds the
// older of its two publications.
class RestoreWithoutRoomTest : public RestoreTest {
 protected:
  void SetUp() override {
    ModelSpec spec = Spec();
    spec.max_publications = 2;
    model_ = harness_.Make(spec, 1);
    const std::string session = harness_.Open(*model_, "a")->id;
    reader_ = HoldingReader::Of(model_->newest());
    Train(*model_, session, 1, 3);
    Poison(*model_, session, 4);  // no update, which needs room
  }

  std::future<absl::StatusOr<Version>> Restore(
      const std::vector<float>& values) {
    auto answer = std::make_shared<std::promise<absl::StatusOr<Version>>>();
    Initialization initialization;
    initialization.restore = true;
    initialization.values = ByteChain::View(values.data(), kElems * 4);
    model_->Initialize(std::move(initialization),
                       [answer](auto version) { answer->set_value(version); });
    return answer->get_future();
  }

  const std::vector<float> threes_ = std::vector<float>(kElems, 3);
  std::shared_ptr<Model> model_;
  std::shared_ptr<HoldingReader> reader_;
};

// What they hold stays as it was; who is in the way is asked to let go.
TEST_F(RestoreWithoutRoomTest, WaitsForReadersOfTheOldOne) {
  const auto newest = model_->newest();
  const std::vector<float> before = harness_.Parameters(*model_);
  auto restored = Restore(threes_);
  EXPECT_EQ(GetErrorInfo(reader_->Why()).reason, Reason::kSlowReader);
  EXPECT_EQ(model_->Describe().state, ModelState::kPoisoned);
  reader_->LetGo();
  ASSERT_TRUE(restored.get().ok());
  EXPECT_EQ(harness_.Parameters(*model_), threes_);
  EXPECT_EQ(std::vector<float>(newest->group(0), newest->group(0) + kElems),
            before);
  EXPECT_EQ(model_->Describe().published_bytes, 2 * kElems * 4);
}

TEST_F(RestoreWithoutRoomTest, ADeletedModelIsNotRestored) {
  auto restored = Restore(threes_);
  EXPECT_FALSE(reader_->Why().ok());
  model_->Delete();
  EXPECT_EQ(restored.get().status().code(), absl::StatusCode::kNotFound);
  reader_->LetGo();
}

}  // namespace
}  // namespace accrue
