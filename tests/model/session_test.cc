#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/session_table.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

Reason ReasonOf(const absl::Status& status) {
  return GetErrorInfo(status).reason;
}

// Of one element each.
ModelSpec ManyGroups(int64_t count) {
  ModelSpec spec = SimpleSpec(1, 2);
  const GroupSpec group = spec.groups[0];
  const TensorSpec tensor = spec.tensors[0];
  for (int64_t i = 1; i < count; ++i) {
    spec.groups.push_back(group);
    spec.groups.back().name = absl::StrCat("group-", i);
    spec.tensors.push_back(tensor);
    spec.tensors.back().name = absl::StrCat("tensor-", i);
    spec.tensors.back().group = spec.groups.back().name;
  }
  return spec;
}

TEST(SessionTest, ANewSessionOfANameFencesTheOlderOne) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 4));
  const std::string old = harness.Open(*model, "a")->id;
  ASSERT_TRUE(harness.PushNow(*model, old, 1, {1}).ok());
  auto half = std::make_shared<NotedArrival>();
  ASSERT_TRUE(
      model->Begin(harness.NewPush(*model, old, 2, {1})->header, half).ok());

  auto taken = harness.Open(*model, "a");
  ASSERT_TRUE(taken.ok());
  EXPECT_NE(taken->id, old);
  EXPECT_EQ(taken->last_sequence, 0);
  const absl::Status why = half->Why();
  EXPECT_EQ(ReasonOf(why), Reason::kSessionFenced);
  EXPECT_EQ(GetErrorInfo(why).lineage, model->Describe().version->lineage);
  model->Leave(half.get());
  const auto refused = harness.PushNow(*model, old, 2, {1});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kSessionFenced);
  EXPECT_EQ(GetErrorInfo(refused.status()).lineage,
            model->Describe().version->lineage);
  EXPECT_EQ(ReasonOf(harness.Open(*model, "a", old).status()),
            Reason::kSessionFenced);
  EXPECT_TRUE(harness.PushNow(*model, taken->id, 1, {1}).ok());
}

// As one that was given up on its way does, behind the one that asked anew.
TEST(SessionTest, ARequestThatComesAgainGetsItsSessionAndFencesNothing) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 4));
  const std::string id = harness.Open(*model, "a", "", "first")->id;
  auto half = std::make_shared<NotedArrival>();
  ASSERT_TRUE(
      model->Begin(harness.NewPush(*model, id, 1, {1})->header, half).ok());

  const auto again = harness.Open(*model, "a", "", "first");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id, id);
  EXPECT_FALSE(half->aborted());
  model->Leave(half.get());
  EXPECT_TRUE(harness.PushNow(*model, id, 1, {1}).ok());
  // Another worker's is its own.
  const auto others = harness.Open(*model, "b", "", "first");
  ASSERT_TRUE(others.ok()) << others.status();
  EXPECT_NE(others->id, id);
  EXPECT_TRUE(harness.PushNow(*model, id, 2, {1}).ok());

  const auto newer = harness.Open(*model, "a", "", "second");
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ(ReasonOf(harness.PushNow(*model, id, 3, {1}).status()),
            Reason::kSessionFenced);
  EXPECT_EQ(harness.Open(*model, "a", "", std::string(65, 'o')).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(harness.PushNow(*model, newer->id, 1, {1}).ok());
}

TEST(SessionTest, QueuedPushesOfAFencedSessionFoldFirst) {
  Harness harness(1);
  auto model = harness.Make(SimpleSpec(1, 4));
  const std::string old = harness.Open(*model, "a")->id;
  std::future<absl::StatusOr<PushOutcome>> queued;
  std::promise<absl::StatusOr<OpenedSession>> opened;
  {
    const Hold hold(*model);
    queued = harness.Send(*model, harness.NewPush(*model, old, 1, {1}));
    model->OpenSession({.worker = "a"}, [&](auto session) {
      opened.set_value(std::move(session));
    });
  }
  EXPECT_TRUE(queued.get().ok());
  ASSERT_TRUE(opened.get_future().get().ok());
  EXPECT_EQ(model->Describe().folded_pushes, 1);
}

TEST(SessionTest, WhatResumingToldOfAPushStaysTrue) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 4));
  const std::string id = harness.Open(*model, "a")->id;
  auto late = std::make_shared<NotedArrival>();
  auto push = harness.NewPush(*model, id, 1, {8});
  std::promise<absl::StatusOr<PushOutcome>> ended;
  push->done = [&](auto outcome) { ended.set_value(std::move(outcome)); };
  ASSERT_TRUE(model->Begin(push->header, late).ok());

  ASSERT_EQ(harness.Open(*model, "a", id)->last_sequence, 0);
  EXPECT_EQ(ReasonOf(late->Why()), Reason::kSuperseded);
  // The rest of it comes all the same.
  model->Submit(std::move(push), late.get());
  const auto refused = ended.get_future().get();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kSuperseded);
  EXPECT_EQ(model->Describe().folded_pushes, 0);
  // So its sequence is free.
  const auto other = harness.PushNow(*model, id, 1, {1});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_FALSE(other->duplicate);
}

TEST(SessionTest, ResumingTellsAPushsFate) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 2));
  const std::string id = harness.Open(*model, "a")->id;
  auto first = harness.PushNow(*model, id, 1, {1});
  auto resumed = harness.Open(*model, "a", id);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->id, id);
  EXPECT_EQ(resumed->last_sequence, 1);
  ASSERT_TRUE(resumed->last_outcome.has_value());
  EXPECT_EQ(resumed->last_outcome->folded_pushes, first->folded_pushes);
  // Another worker cannot resume it, nor can anyone an unknown one.
  EXPECT_EQ(harness.Open(*model, "b", id).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(harness.Open(*model, "a", std::string(32, '0')).status()),
            Reason::kSessionUnknown);
}

TEST(SessionTest, AClosedSessionIsUnknownAndClosingTwiceIsNoError) {
  Harness harness;
  auto model = harness.Make(SimpleSpec(1, 2));
  const std::string id = harness.Open(*model, "a")->id;
  EXPECT_TRUE(harness.CloseSession(*model, id).ok());
  EXPECT_TRUE(harness.CloseSession(*model, id).ok());
  EXPECT_EQ(ReasonOf(harness.PushNow(*model, id, 1, {1}).status()),
            Reason::kSessionUnknown);
}

TEST(SessionTest, SessionsAreBounded) {
  Harness harness;
  harness.environment().max_sessions = 2;
  auto model = harness.Make(SimpleSpec(1, 2));
  ASSERT_TRUE(harness.Open(*model, "a").ok());
  ASSERT_TRUE(harness.Open(*model, "b").ok());
  const auto third = harness.Open(*model, "c");
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(third.status()), Reason::kLimit);
  EXPECT_TRUE(harness.Open(*model, "a").ok());  // takes its own place
  EXPECT_EQ(harness.Open(*model, "").status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A checkpoint's manifest has each session's last outcome, group by group; one
// that gathers has the pushes it holds in the other half.
TEST(SessionTest, OfManyGroupsThereAreAsManySessionsAsACheckpointHasRoomFor) {
  constexpr int64_t kGroups = 10'000;
  Harness harness;
  ModelSpec spec = ManyGroups(kGroups);
  for (const int64_t most :
       {MostSessions(kGroups), MostSessions(kGroups) / 2}) {
    auto model = harness.Make(spec);
    for (int64_t i = 0; i < most; ++i) {
      ASSERT_TRUE(harness.Open(*model, absl::StrCat("worker-", i)).ok()) << i;
    }
    const auto more = harness.Open(*model, "one more");
    EXPECT_EQ(ReasonOf(more.status()), Reason::kLimit);
    EXPECT_TRUE(harness.Open(*model, "worker-0").ok());
    spec.optimizer.buffering = rule::Buffering::kGather;
  }
}

TEST(SessionTest, IdleSessionsEnd) {
  Harness harness;
  harness.environment().session_ttl = absl::Milliseconds(20);
  auto model = harness.Make(SimpleSpec(1, 2));
  const std::string id = harness.Open(*model, "a")->id;
  const absl::Time limit = absl::Now() + absl::Seconds(30);
  while (!model->Sessions().empty() && absl::Now() < limit) {
    harness.Image(*model);  // a turn of the executor
  }
  EXPECT_TRUE(model->Sessions().empty());
  EXPECT_EQ(ReasonOf(harness.PushNow(*model, id, 1, {1}).status()),
            Reason::kSessionUnknown);
}

}  // namespace
}  // namespace accrue
