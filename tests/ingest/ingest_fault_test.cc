// Streams whose transport found fault with what it read.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/ingest/admission.h"
#include "server/ingest/ingest.h"
#include "tests/ingest/fake_call.h"
#include "tests/ingest/fake_model.h"
#include "tests/ingest/ingest_fixture.h"

namespace accrue {
namespace {

absl::Status Fault(const std::string& message = "broken") {
  return MakeError(absl::StatusCode::kUnavailable, Reason::kDataConnection,
                   message);
}

class FaultTest : public IngestTest {
 protected:
  // Its answer is the fault, and all that it held is free again.
  template <typename Call>
  void ExpectFault(Call& call) {
    ExpectError(call, absl::StatusCode::kUnavailable, Reason::kDataConnection);
    EXPECT_EQ(call.AwaitAnswer().status().message(), "broken");
    EXPECT_EQ(ingest_->reserved_bytes(), 0);
    EXPECT_EQ(ingest_->stream_count(), 0);
    EXPECT_EQ(live_spans, 0);
  }
};

TEST_F(FaultTest, InsteadOfAHeaderIsTheAnswer) {
  Start(Patient());
  const auto push = StartPush(*ingest_);
  push->SendFault(Fault());
  ExpectFault(*push);
  const auto initialize = StartInitialize(*ingest_);
  initialize->SendFault(Fault());
  ExpectFault(*initialize);
}

TEST_F(FaultTest, WhileItWaitsForMemoryItGivesItsPlaceUp) {
  Start(Patient(1));
  const auto holder = PushUpTo("a", kChunk);
  const auto waiting = StartPush(*ingest_);
  waiting->SendHeader(Header("b"), Bytes(0, 100));
  const auto next = StartPush(*ingest_);
  next->SendHeader(Header("b"));
  EXPECT_FALSE(waiting->reading());
  // No read is outstanding: it may come at any time.
  waiting->stream().OnFault(Fault());
  ExpectError(*waiting, absl::StatusCode::kUnavailable,
              Reason::kDataConnection);
  EXPECT_FALSE(next->answered());
  EXPECT_FALSE(next->reading());
  EXPECT_EQ(ingest_->reserved_bytes(), Admission::ChargeOf(kBytes));
  holder->SendFault(Fault());
  ExpectError(*holder, absl::StatusCode::kUnavailable, Reason::kDataConnection);
  Complete(*next, "b");
}

TEST_F(FaultTest, WhileItIsReceivedItFreesTheBudget) {
  Start(Patient(1));
  for (const int64_t bytes : {int64_t{0}, kChunk, kBytes}) {
    const auto call = PushUpTo("a", bytes);
    EXPECT_EQ(ingest_->reserved_bytes(), Admission::ChargeOf(kBytes));
    EXPECT_EQ(model("a").arrival_count(), 1);
    call->SendFault(Fault());
    ExpectFault(*call);
    EXPECT_EQ(model("a").arrival_count(), 0);
  }
  const auto next = StartPush(*ingest_);
  next->SendHeader(Header("a"));
  Complete(*next, "a");
}

TEST_F(FaultTest, ComesTooLateForAPayloadThatTheModelHas) {
  Start(Patient());
  model("a").set_hold(true);
  const auto call = PushUpTo("a", kBytes);
  call->SendEnd();
  call->stream().OnFault(Fault());
  EXPECT_FALSE(call->answered());
  model("a").Fold();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(FaultTest, IsIgnoredAfterTheAnswer) {
  Start(Patient());
  const auto folded = PushUpTo("a", kBytes);
  folded->SendEnd();
  EXPECT_TRUE(folded->AwaitAnswer().ok());
  folded->stream().OnFault(Fault());
  EXPECT_TRUE(folded->AwaitAnswer().ok());

  const auto faulty = PushUpTo("a", kChunk);
  faulty->SendFault(Fault());
  ExpectFault(*faulty);
  faulty->stream().OnFault(Fault("again"));
  faulty->stream().OnChunk(Bytes(0, kChunk));
  faulty->stream().OnEnd();
  faulty->stream().OnCancelled();
  ExpectFault(*faulty);
}

TEST_F(FaultTest, OfManyTheFirstIsTheAnswer) {
  Start(Patient());
  const auto call = PushUpTo("a", kChunk);
  call->stream().OnFault(Fault());
  call->stream().OnFault(Fault("again"));
  ExpectFault(*call);
}

}  // namespace
}  // namespace accrue
