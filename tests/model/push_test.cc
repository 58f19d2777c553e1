// What a push may and may not do to a model: proto/accrue/v1/error.proto,
// below the transport.
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Reason ReasonOf(const absl::Status& status) {
  return GetErrorInfo(status).reason;
}

class PushTest : public ::testing::Test {
 protected:
  // Expects a refusal that changes nothing, and that the right push follows.
  void ExpectRefused(Model& model, std::unique_ptr<Push> push,
                     absl::StatusCode code, Reason reason) {
    const StateImage before = harness_.Image(model);
    const absl::StatusOr<PushOutcome> answer =
        harness_.PushNow(model, std::move(push));
    EXPECT_EQ(answer.status().code(), code) << answer.status();
    EXPECT_EQ(ReasonOf(answer.status()), reason) << answer.status();
    const ErrorInfo info = GetErrorInfo(answer.status());
    EXPECT_EQ(info.subject, "m");
    if (before.version.has_value()) {
      EXPECT_EQ(info.current_version, before.version->number);
      EXPECT_EQ(info.lineage, before.version->lineage);
    }
    EXPECT_EQ(harness_.Image(model), before);
  }

  Harness harness_;
};

TEST_F(PushTest, KPushesAreOneStepOnTheirMean) {
  auto model = harness_.Make(SimpleSpec(3, 2), 1.0);
  const std::string session = harness_.Open(*model, "a")->id;
  auto first = harness_.PushNow(*model, session, 1, {2, 4, 6});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->published);
  EXPECT_EQ(first->version.number, 0);
  EXPECT_EQ(first->folded_pushes, 1);
  EXPECT_EQ(first->groups[0].position, 1);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(1, 1, 1));
  auto second = harness_.PushNow(*model, session, 2, {0, 0, 2});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->published);
  EXPECT_EQ(second->version.number, 1);
  EXPECT_EQ(second->groups[0].updates, 1);
  EXPECT_EQ(second->groups[0].position, 0);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(0, -1, -3));
}

TEST_F(PushTest, AModelWithoutParametersTakesNone) {
  auto model = harness_.TryMake(SimpleSpec(2, 1));
  ASSERT_TRUE(model.ok());
  const std::string session = harness_.Open(**model, "a")->id;
  ExpectRefused(**model, harness_.NewPush(**model, session, 1, {1, 1}),
                absl::StatusCode::kFailedPrecondition, Reason::kNotInitialized);
}

TEST_F(PushTest, SequencesRiseByOne) {
  auto model = harness_.Make(SimpleSpec(2, 4));
  const std::string session = harness_.Open(*model, "a")->id;
  ExpectRefused(*model, harness_.NewPush(*model, session, 2, {1, 1}),
                absl::StatusCode::kOutOfRange, Reason::kFuture);
  ASSERT_TRUE(harness_.PushNow(*model, session, 1, {1, 1}).ok());
  ASSERT_TRUE(harness_.PushNow(*model, session, 2, {1, 1}).ok());
  ExpectRefused(*model, harness_.NewPush(*model, session, 1, {1, 1}),
                absl::StatusCode::kFailedPrecondition, Reason::kSequenceOld);
  EXPECT_TRUE(harness_.PushNow(*model, session, 3, {1, 1}).ok());
}

TEST_F(PushTest, ARepeatedPushGetsItsFirstAnswerAndIsNotFoldedAgain) {
  auto model = harness_.Make(SimpleSpec(2, 2));
  const std::string session = harness_.Open(*model, "a")->id;
  auto first = harness_.PushNow(*model, session, 1, {1, 1});
  const StateImage before = harness_.Image(*model);
  auto again = harness_.PushNow(*model, session, 1, {1, 1});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->duplicate);
  EXPECT_FALSE(first->duplicate);
  EXPECT_EQ(again->folded_pushes, first->folded_pushes);
  EXPECT_EQ(harness_.Image(*model), before);
  ExpectRefused(*model, harness_.NewPush(*model, session, 1, {1, 2}),
                absl::StatusCode::kInvalidArgument, Reason::kSequenceReused);
  // The message after a duplicate is an ordinary one.
  EXPECT_TRUE(harness_.PushNow(*model, session, 2, {1, 1})->published);
}

TEST_F(PushTest, ARepeatedPushWithItsChecksumIsAnsweredBeforeItsPayload) {
  auto model = harness_.Make(SimpleSpec(2, 1));
  const std::string session = harness_.Open(*model, "a")->id;
  auto push = harness_.NewPush(*model, session, 1, {1, 1});
  PushHeader header = push->header;
  header.checksum = push->hash;
  ASSERT_TRUE(harness_.PushNow(*model, std::move(push)).ok());
  auto begun = model->Begin(header, std::make_shared<NotedArrival>());
  ASSERT_TRUE(begun.ok()) << begun.status();
  ASSERT_TRUE(begun->duplicate.has_value());
  EXPECT_TRUE(begun->duplicate->duplicate);
  EXPECT_EQ(begun->duplicate->folded_pushes, 1);
}

TEST_F(PushTest, AStalePushIsRefusedAndADampedOneFoldedWithLessGain) {
  ModelSpec spec = SimpleSpec(1, 1);
  auto strict = harness_.Make(spec);
  std::string session = harness_.Open(*strict, "a")->id;
  auto old = harness_.NewPush(*strict, session, 2, {1});
  ASSERT_TRUE(harness_.PushNow(*strict, session, 1, {1}).ok());
  ExpectRefused(*strict, std::move(old), absl::StatusCode::kAborted,
                Reason::kStale);

  spec.stale_policy = StalePolicy::kDampen;
  auto damped = harness_.Make(spec);
  session = harness_.Open(*damped, "a")->id;
  old = harness_.NewPush(*damped, session, 2, {1});
  ASSERT_TRUE(harness_.PushNow(*damped, session, 1, {1}).ok());
  ASSERT_TRUE(harness_.PushNow(*damped, std::move(old)).ok());
  EXPECT_THAT(harness_.Parameters(*damped), ElementsAre(-1.5));

  spec.stale_policy = StalePolicy::kAccept;
  auto lenient = harness_.Make(spec);
  session = harness_.Open(*lenient, "a")->id;
  old = harness_.NewPush(*lenient, session, 2, {1});
  ASSERT_TRUE(harness_.PushNow(*lenient, session, 1, {1}).ok());
  ASSERT_TRUE(harness_.PushNow(*lenient, std::move(old)).ok());
  EXPECT_THAT(harness_.Parameters(*lenient), ElementsAre(-2));
}

TEST_F(PushTest, AnotherLineageAndTheFutureAreRefused) {
  auto model = harness_.Make(SimpleSpec(1, 1));
  const std::string session = harness_.Open(*model, "a")->id;
  auto push = harness_.NewPush(*model, session, 1, {1});
  push->header.version.lineage = std::string(32, 'f');
  ExpectRefused(*model, std::move(push), absl::StatusCode::kAborted,
                Reason::kLineageChanged);
  push = harness_.NewPush(*model, session, 1, {1});
  push->header.version.number = 1;
  ExpectRefused(*model, std::move(push), absl::StatusCode::kOutOfRange,
                Reason::kFuture);
  EXPECT_TRUE(harness_.PushNow(*model, session, 1, {1}).ok());
}

TEST_F(PushTest, NothingThatIsNotFiniteIsFolded) {
  auto model = harness_.Make(SimpleSpec(2, 1));
  const std::string session = harness_.Open(*model, "a")->id;
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (float bad : {std::nanf(""), kInf, -kInf}) {
    ExpectRefused(*model, harness_.NewPush(*model, session, 1, {1, bad}),
                  absl::StatusCode::kInvalidArgument, Reason::kNonFinite);
  }
  // 2^63 is the last that can be squared; weight and scale count.
  auto push = harness_.NewPush(*model, session, 1, {0x1p63f, 0});
  push->header.weight = 1.5;
  ExpectRefused(*model, std::move(push), absl::StatusCode::kInvalidArgument,
                Reason::kNonFinite);
  push = harness_.NewPush(*model, session, 1, {0x1p63f, 0});
  push->header.scale = 0.5;
  ExpectRefused(*model, std::move(push), absl::StatusCode::kInvalidArgument,
                Reason::kNonFinite);
  push = harness_.NewPush(*model, session, 1, {0x1p64f, 0});
  push->header.weight = 0.25;  // squared before it is weighed
  ExpectRefused(*model, std::move(push), absl::StatusCode::kInvalidArgument,
                Reason::kNonFinite);
  EXPECT_TRUE(harness_.PushNow(*model, session, 1, {0x1p63f, 0}).ok());
}

TEST_F(PushTest, AWeightMustBeAboveZeroAndAtMostAThousandTimesNominal) {
  ModelSpec spec = SimpleSpec(1, 2);
  spec.nominal_weight = 2;
  auto model = harness_.Make(spec);
  const std::string session = harness_.Open(*model, "a")->id;
  // 1e-30 of a push would leave a bias correction nothing to divide by.
  for (double bad : {0.0, -1.0, 1e-30, 2000.5, std::nan("")}) {
    auto push = harness_.NewPush(*model, session, 1, {1});
    push->header.weight = bad;
    ExpectRefused(*model, std::move(push), absl::StatusCode::kInvalidArgument,
                  Reason::kUnspecified);
  }
  auto push = harness_.NewPush(*model, session, 1, {1});
  push->header.weight = 4;  // twice the nominal
  ASSERT_TRUE(harness_.PushNow(*model, std::move(push)).ok());
  ASSERT_TRUE(harness_.PushNow(*model, session, 2, {0}).ok());
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-1));
}

TEST_F(PushTest, MicroStepsCountAsPushesAndAreTheSameThroughoutACycle) {
  auto model = harness_.Make(SimpleSpec(1, 4));
  const std::string session = harness_.Open(*model, "a")->id;
  auto push = harness_.NewPush(*model, session, 1, {1});
  push->header.micro_steps = 3;  // does not divide 4
  ExpectRefused(*model, std::move(push), absl::StatusCode::kInvalidArgument,
                Reason::kUnspecified);
  push = harness_.NewPush(*model, session, 1, {1});
  push->header.micro_steps = 2;
  auto answer = harness_.PushNow(*model, std::move(push));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->folded_pushes, 2);
  ExpectRefused(*model, harness_.NewPush(*model, session, 2, {1}),
                absl::StatusCode::kAborted, Reason::kMicroSteps);
  push = harness_.NewPush(*model, session, 2, {3});
  push->header.micro_steps = 2;
  EXPECT_TRUE(harness_.PushNow(*model, std::move(push))->published);
  EXPECT_THAT(harness_.Parameters(*model), ElementsAre(-2));
  // The next cycle may choose again.
  EXPECT_TRUE(harness_.PushNow(*model, session, 3, {1}).ok());
}

TEST_F(PushTest, AWorkersShareOfACycleIsBounded) {
  ModelSpec spec = SimpleSpec(1, 2);
  spec.max_pushes_per_worker = 1;
  auto model = harness_.Make(spec);
  const std::string a = harness_.Open(*model, "a")->id;
  const std::string b = harness_.Open(*model, "b")->id;
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  ExpectRefused(*model, harness_.NewPush(*model, a, 2, {1}),
                absl::StatusCode::kAborted, Reason::kQuota);
  EXPECT_THAT(model->Describe().missing_workers, ElementsAre("b"));
  EXPECT_THAT(model->Describe().pushed_workers, ElementsAre("a"));
  ASSERT_TRUE(harness_.PushNow(*model, b, 1, {1})->published);
  EXPECT_TRUE(harness_.PushNow(*model, a, 2, {1}).ok());
}

TEST_F(PushTest, ASecondStreamOfTheSameSequenceReplacesAnIncompleteFirst) {
  auto model = harness_.Make(SimpleSpec(1, 1));
  const std::string session = harness_.Open(*model, "a")->id;
  auto first = std::make_shared<NotedArrival>();
  auto push = harness_.NewPush(*model, session, 1, {1});
  ASSERT_TRUE(model->Begin(push->header, first).ok());
  EXPECT_TRUE(harness_.PushNow(*model, std::move(push)).ok());
  EXPECT_EQ(ReasonOf(first->Why()), Reason::kSuperseded);
  model->Leave(first.get());
}

TEST_F(PushTest, AnUpdateEndsTheArrivalsThatItMadeTooStale) {
  auto model = harness_.Make(SimpleSpec(1, 1));
  const std::string a = harness_.Open(*model, "a")->id;
  const std::string b = harness_.Open(*model, "b")->id;
  auto late = std::make_shared<NotedArrival>();
  ASSERT_TRUE(
      model->Begin(harness_.NewPush(*model, b, 1, {1})->header, late).ok());
  ASSERT_TRUE(harness_.PushNow(*model, a, 1, {1}).ok());
  EXPECT_EQ(ReasonOf(late->Why()), Reason::kStale);
  model->Leave(late.get());
}

TEST_F(PushTest, ADeletedModelAnswersNotFound) {
  auto model = harness_.Make(SimpleSpec(1, 2));
  const std::string session = harness_.Open(*model, "a")->id;
  auto push = harness_.NewPush(*model, session, 1, {1});
  auto half = std::make_shared<NotedArrival>();
  ASSERT_TRUE(model->Begin(push->header, half).ok());
  model->Delete();
  EXPECT_EQ(ReasonOf(half->Why()), Reason::kModelUnknown);
  model->Leave(half.get());
  EXPECT_EQ(harness_.PushNow(*model, std::move(push)).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(harness_.Open(*model, "b").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(PushTest, ADrainingModelFoldsWhatIsCompleteAndTakesNothingNew) {
  auto model = harness_.Make(SimpleSpec(1, 2));
  const std::string a = harness_.Open(*model, "a")->id;
  const std::string b = harness_.Open(*model, "b")->id;
  auto half = std::make_shared<NotedArrival>();
  ASSERT_TRUE(
      model->Begin(harness_.NewPush(*model, b, 1, {1})->header, half).ok());
  auto complete = harness_.Send(*model, harness_.NewPush(*model, a, 1, {1}));
  std::promise<void> drained;
  model->Drain([&] { drained.set_value(); });
  drained.get_future().wait();
  EXPECT_TRUE(complete.get().ok());
  EXPECT_EQ(ReasonOf(half->Why()), Reason::kDraining);
  model->Leave(half.get());
  EXPECT_EQ(ReasonOf(harness_.PushNow(*model, a, 2, {1}).status()),
            Reason::kDraining);
}

}  // namespace
}  // namespace accrue
