// How long a stream may take and wait, and how many there may be.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/ingest/admission.h"
#include "server/ingest/ingest.h"
#include "tests/ingest/fake_call.h"
#include "tests/ingest/fake_model.h"
#include "tests/ingest/ingest_fixture.h"

namespace accrue {
namespace {

TEST_F(IngestTest, ASenderWithoutHeaderIsDropped) {
  IngestOptions options = Patient();
  options.header_timeout = kSoon;
  Start(options);
  const auto call = StartPush(*ingest_);
  ExpectError(*call, absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush);
}

TEST_F(IngestTest, AFrozenSenderFreesTheBudgetForTheNext) {
  IngestOptions options = Patient(1);
  options.push_idle_timeout = kSoon;
  Start(options);
  const auto frozen = PushUpTo("a", kChunk);
  const auto next = StartPush(*ingest_);
  next->SendHeader(Header("b"), {});
  ExpectError(*frozen, absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush);
  ASSERT_TRUE(next->AwaitRead());
  next->Cancel();
  EXPECT_FALSE(next->AwaitAnswer().ok());
}

TEST_F(IngestTest, ASenderThatFinishesButDoesNotSaySoIsDropped) {
  IngestOptions options = Patient();
  options.push_idle_timeout = kSoon;
  Start(options);
  const auto call = PushUpTo("a", kBytes);
  ExpectError(*call, absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush);
}

TEST_F(IngestTest, ProgressKeepsASlowSenderAlive) {
  IngestOptions options = Patient(100);
  options.push_idle_timeout = absl::Seconds(1);
  Start(options);
  const auto call = StartPush(*ingest_);
  call->SendHeader(Header("large"));
  // A chunk every 100 ms: longer than the idle timeout in all.
  for (int64_t at = 0; at < 4 * kLargeElems; at += kChunk) {
    ASSERT_FALSE(call->AwaitAnswerFor(absl::Milliseconds(100)));
    call->SendChunk(Bytes(at, at + kChunk));
  }
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, ATricklingSenderIsDropped) {
  IngestOptions options = Patient(100);
  options.push_base_time = kSoon;
  options.push_min_rate = int64_t{1} << 40;
  Start(options);
  const auto call = StartPush(*ingest_);
  call->SendHeader(Header("large"));
  for (int64_t at = 0; at < 4 * kLargeElems; at += kChunk) {
    if (call->AwaitAnswerFor(absl::Milliseconds(10))) break;
    call->SendChunk(Bytes(at, at + kChunk));
  }
  ExpectError(*call, absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush);
  EXPECT_NE(call->AwaitAnswer().status().message().find("--push_min_rate"),
            absl::string_view::npos);
}

TEST_F(IngestTest, ATricklingSenderMakesRoomForThoseWhoWait) {
  IngestOptions options = Patient(4);
  options.push_idle_timeout = absl::Milliseconds(200);
  options.push_min_rate = int64_t{1} << 40;
  Start(options);
  const auto call = StartPush(*ingest_);
  call->SendHeader(Header("large"));
  const auto next = StartPush(*ingest_);
  next->SendHeader(Header("large"));
  EXPECT_FALSE(next->reading());
  for (int64_t at = 0; at < 4 * kLargeElems - kChunk; at += kChunk) {
    if (call->AwaitAnswerFor(absl::Milliseconds(50))) break;
    call->SendChunk(Bytes(at, at + kChunk));
  }
  ExpectError(*call, absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush);
  EXPECT_TRUE(next->AwaitRead());
  next->Cancel();
}

TEST_F(IngestTest, AWaitForMemoryIsBounded) {
  IngestOptions options = Patient(1);
  options.admission_timeout = kSoon;
  Start(options);
  const auto first = PushUpTo("a", kChunk);
  const auto waiting = StartPush(*ingest_);
  waiting->SendHeader(Header("b"), Bytes(0, 100));
  ExpectError(*waiting, absl::StatusCode::kResourceExhausted,
              Reason::kIngestMemory);
  EXPECT_GT(GetErrorInfo(waiting->AwaitAnswer().status()).retry_after,
            absl::ZeroDuration());
  first->Cancel();
}

TEST_F(IngestTest, AWaitForMemoryEndsASecondBeforeTheCallsDeadline) {
  Start(Patient(1));
  const auto first = PushUpTo("a", kChunk);
  const absl::Time deadline = absl::Now() + absl::Seconds(1) + kSoon;
  const auto waiting = StartPush(*ingest_, deadline);
  waiting->SendHeader(Header("b"));
  ExpectError(*waiting, absl::StatusCode::kResourceExhausted,
              Reason::kIngestMemory);
  EXPECT_LT(absl::Now(), deadline);
  const auto hopeless = StartPush(*ingest_, absl::Now() + kSoon);
  hopeless->SendHeader(Header("b"));
  ExpectError(*hopeless, absl::StatusCode::kResourceExhausted,
              Reason::kIngestMemory);
  // Where nothing has to wait, a near deadline is the caller's affair.
  first->Cancel();
  const auto near = StartPush(*ingest_, absl::Now() + absl::Milliseconds(900));
  near->SendHeader(Header("b"));
  Complete(*near, "b");
}

TEST_F(IngestTest, ModelsTakeTurnsAndAModelsPushesKeepTheirOrder) {
  Start(Patient(1));
  const std::vector<std::string> names = {"a", "a", "a", "b", "b"};
  std::vector<std::unique_ptr<FakePush>> calls;
  for (const std::string& name : names) {
    calls.push_back(StartPush(*ingest_));
    calls.back()->SendHeader(Header(name));
  }
  for (const size_t next : {0, 1, 3, 2, 4}) {
    ASSERT_TRUE(calls[next]->AwaitRead());
    for (size_t other = 0; other < calls.size(); ++other) {
      EXPECT_EQ(calls[other]->reading(), other == next);
    }
    Complete(*calls[next], names[next]);
  }
}

TEST_F(IngestTest, ALargePushIsNotStarvedBySmallOnes) {
  // Room for one large push, or four small ones at a time.
  Start(Patient(4));
  std::vector<std::unique_ptr<FakePush>> small;
  for (int i = 0; i < 3; ++i) small.push_back(PushUpTo("a", 0));
  const auto large = StartPush(*ingest_);
  large->SendHeader(Header("large"));
  EXPECT_FALSE(large->reading());
  // Small ones come without end, each before the one before it has gone.
  int64_t passed = 0;
  while (true) {
    small.push_back(PushUpTo("b", 0));
    if (!small.back()->reading()) break;
    ++passed;
    Complete(*small.front(), passed <= 3 ? "a" : "b");
    small.erase(small.begin());
  }
  EXPECT_EQ(passed, 4);  // the large one's own size
  const auto last = std::move(small.back());
  small.pop_back();
  for (auto& call : small) call->Cancel();
  Complete(*large, "large");
  Complete(*last, "b");
}

TEST_F(IngestTest, AnAbortEndsAPushThatWaitsOrArrives) {
  Start(Patient(1));
  const auto receiving = PushUpTo("a", kChunk);
  const auto waiting = StartPush(*ingest_);
  waiting->SendHeader(Header("a"), Bytes(0, 100));
  model("a").AbortAll();
  ExpectError(*receiving, absl::StatusCode::kAborted, Reason::kStale);
  ExpectError(*waiting, absl::StatusCode::kAborted, Reason::kStale);
  // Nothing stays reserved, as the fixture sees at the end: what came free with
  // the first may for a moment have been granted to the second.
}

TEST_F(IngestTest, AnAbortOfASubmittedPushDoesNothing) {
  Start(Patient());
  model("a").set_hold(true);
  const auto call = PushUpTo("a", kBytes);
  call->SendEnd();
  model("a").AbortSubmitted(absl::AbortedError("late"));
  model("a").Fold();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, OneStreamTooManyIsRefused) {
  IngestOptions options = Patient();
  options.max_push_streams = 2;
  Start(options);
  const auto first = StartPush(*ingest_);
  const auto second = StartInitialize(*ingest_);
  const auto third = StartPush(*ingest_);
  EXPECT_TRUE(third->answered());
  ExpectError(*third, absl::StatusCode::kResourceExhausted, Reason::kLimit);
  EXPECT_EQ(ingest_->stream_count(), 2);
  first->Cancel();
  const auto fourth = StartPush(*ingest_);
  EXPECT_TRUE(fourth->reading());
  fourth->Cancel();
  second->Cancel();
}

TEST_F(IngestTest, WhatCanNeverFitIsRefusedAtOnce) {
  Start(Patient(1));
  const auto call = StartPush(*ingest_);
  call->SendHeader(Header("large"));
  ExpectError(*call, absl::StatusCode::kResourceExhausted,
              Reason::kIngestMemory);
}

}  // namespace
}  // namespace accrue
