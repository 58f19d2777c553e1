// Payloads on data connections to the real daemon: they are the same pushes as
// in messages, and whatever goes wrong leaves no trace in the model.
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/cpp/src/data_connection.h"
#include "client/cpp/src/target.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/data_socket.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/twin_fixture.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

constexpr size_t kHalf = Twin::kElems * 4 / 2;

void ExpectDataConnection(const Ending& ending) {
  ExpectRefused(ending, StatusCode::UNAVAILABLE,
                Detail::REASON_DATA_CONNECTION);
}

class DataTest : public TwinTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(TwinTest::SetUp());
    twin_.emplace(*wire_, GetParam());
    Renew();
  }

  // Another connection, on TCP and on the Unix socket in turn.
  void Renew() {
    data_ = std::make_unique<DataSocket>(
        std::exchange(tcp_, !tcp_) ? daemon_->tcp() : daemon_->uds());
  }
  // The daemon has hung up, or does so soon after a call that was cancelled;
  // another serves from now on.
  void ExpectEnded() {
    data_->AwaitEnd();
    Renew();
    ASSERT_NO_FATAL_FAILURE(twin_->Push(data_.get()));
  }
  // It serves for more.
  void ExpectKept() {
    EXPECT_FALSE(data_->ended());
    ASSERT_NO_FATAL_FAILURE(twin_->Push(data_.get()));
  }
  // The next push, and half of its payload.
  Wire::HalfPush Begin() { return data_->Begin(*wire_, twin_->Next()); }
  void SendHalf() {
    EXPECT_TRUE(data_->Send(Twin::Payload(0).substr(0, kHalf)));
    wire_->AwaitIngest();
  }

  std::optional<Twin> twin_;
  std::unique_ptr<DataSocket> data_;
  bool tcp_ = true;
};

TEST_P(DataTest, APushIsBitForBitWhatItIsInMessages) {
  DataSocket other(daemon_->uds());
  for (int i = 0; i < 2 * Twin::kCycle; ++i) {
    ASSERT_NO_FATAL_FAILURE(twin_->Push(i % 3 == 2 ? &other : data_.get()));
  }
  EXPECT_FALSE(data_->ended());
  EXPECT_FALSE(other.ended());
  twin_->ExpectUntouched();
}

TEST_P(DataTest, AConnectionThatIsUnknownOrInUseIsRefused) {
  v1::PushHeader header = twin_->Next();
  for (const std::string& id :
       {std::string(32, 'f'), std::string("short"), std::string(1000, 'x')}) {
    header.set_data_connection(id);
    Wire::HalfPush push(*wire_, header, "", 0);
    ExpectDataConnection(push.Complete());
  }
  Wire::HalfPush half = Begin();
  SendHalf();
  const std::string other = twin_->Open("other");
  header = wire_->Header(Twin::kModel, other, 1, Twin::Gradient(0));
  header.set_data_connection(data_->id());
  ExpectDataConnection(Wire::HalfPush(*wire_, header, "", 0).Complete());
  // The push that has it is none the worse for it.
  EXPECT_FALSE(data_->ended());
  half.Cancel();
  EXPECT_EQ(half.Finish().status.error_code(), StatusCode::CANCELLED);
  ASSERT_NO_FATAL_FAILURE(ExpectEnded());
  twin_->ExpectUntouched();
}

TEST_P(DataTest, AHeaderThatContradictsItselfIsRefused) {
  const auto refused = [&](int64_t payload_bytes) {
    v1::PushHeader header = twin_->Next();
    header.set_payload_bytes(payload_bytes);
    ExpectRefused(data_->Push(*wire_, header, ""), StatusCode::INVALID_ARGUMENT,
                  Detail::REASON_WRONG_SHAPE);
    ExpectEnded();
  };
  for (const int64_t bytes : {int64_t{-1}, INT64_MIN, Twin::kElems * 4 - 1,
                              Twin::kElems * 4 + 4, INT64_MAX}) {
    ASSERT_NO_FATAL_FAILURE(refused(bytes));
  }
  // Nothing is to be received for this one.
  v1::PushHeader header = twin_->Next();
  header.set_payload_bytes(0);
  ExpectRefused(data_->Push(*wire_, header, ""), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_WRONG_SHAPE);
  ASSERT_NO_FATAL_FAILURE(ExpectEnded());

  header = twin_->Next();
  header.set_data_connection(data_->id());
  const std::string payload = Twin::Payload(0);
  Wire::HalfPush chunk(*wire_, header, payload, 100);
  const Ending ending = chunk.Finish();
  ExpectRefused(ending, StatusCode::INVALID_ARGUMENT,
                Detail::REASON_UNSPECIFIED);
  EXPECT_THAT(ending.status.error_message(), testing::HasSubstr("a chunk"));
  ASSERT_NO_FATAL_FAILURE(ExpectEnded());
  twin_->ExpectUntouched();
}

TEST_P(DataTest, ARefusalAtTheHeaderEndsTheConnection) {
  ASSERT_NO_FATAL_FAILURE(twin_->PushToUpdate());
  const std::string payload = Twin::Payload(0);
  v1::PushHeader stale = twin_->Next();
  stale.mutable_version()->set_number(0);
  ExpectRefused(data_->Push(*wire_, stale, payload), StatusCode::ABORTED,
                Detail::REASON_STALE);
  ASSERT_NO_FATAL_FAILURE(ExpectEnded());
  v1::PushHeader unknown = twin_->Next();
  unknown.set_session_id(std::string(32, '0'));
  ExpectRefused(data_->Push(*wire_, unknown, payload), StatusCode::NOT_FOUND,
                Detail::REASON_SESSION_UNKNOWN);
  ASSERT_NO_FATAL_FAILURE(ExpectEnded());
  // A push that was folded before is answered at its header, too.
  v1::PushResponse response;
  EXPECT_TRUE(
      data_
          ->Push(*wire_, twin_->last_header(), twin_->last_payload(), &response)
          .status.ok());
  EXPECT_TRUE(response.duplicate());
  twin_->ExpectUntouched();
}

TEST_P(DataTest, APayloadThatIsRefusedWholeKeepsTheConnection) {
  std::vector<float> gradient = Twin::Gradient(0);
  gradient[Twin::kElems / 2] = NAN;
  ExpectRefused(data_->Push(*wire_, twin_->Next(), FloatBytes(gradient)),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_NON_FINITE);
  ASSERT_NO_FATAL_FAILURE(ExpectKept());
  v1::PushHeader header = twin_->Next();
  header.set_checksum(1);
  ExpectRefused(data_->Push(*wire_, header, Twin::Payload(0)),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_CHECKSUM);
  ASSERT_NO_FATAL_FAILURE(ExpectKept());
  twin_->ExpectUntouched();
}

TEST_P(DataTest, APeerThatLeavesInTheMiddleIsTold) {
  Wire::HalfPush half = Begin();
  SendHalf();
  data_->HangUp();
  ExpectDataConnection(half.Finish());
  Renew();
  ASSERT_NO_FATAL_FAILURE(ExpectKept());
  // One that sent nothing.
  Wire::HalfPush none = Begin();
  data_->HangUp();
  ExpectDataConnection(none.Finish());
  Renew();
  twin_->ExpectUntouched();
}

TEST_P(DataTest, ACallThatIsCancelledInTheMiddleEndsTheConnection) {
  for (int i = 0; i < 4; ++i) {
    Wire::HalfPush half = Begin();
    SendHalf();
    half.Cancel();
    EXPECT_EQ(half.Finish().status.error_code(), StatusCode::CANCELLED);
    ASSERT_NO_FATAL_FAILURE(ExpectEnded());
  }
  twin_->ExpectUntouched();
}

TEST_P(DataTest, ASessionThatIsTakenOverInTheMiddleIsFenced) {
  Wire::HalfPush half = Begin();
  SendHalf();
  twin_->Reopen();
  ExpectRefused(half.Finish(), StatusCode::ABORTED,
                Detail::REASON_SESSION_FENCED);
  ASSERT_NO_FATAL_FAILURE(ExpectEnded());
  twin_->ExpectUntouched();
}

// Cuts anywhere, against everything the daemon does meanwhile.
TEST_P(DataTest, SoDoManyThatEndSomewhere) {
  const std::string payload = Twin::Payload(0);
  for (size_t bytes = 0; bytes < payload.size(); bytes += 4'999) {
    Wire::HalfPush half = Begin();
    EXPECT_TRUE(data_->Send(payload.substr(0, bytes)));
    if (bytes % 2 == 0) {
      data_->HangUp();
      ExpectDataConnection(half.Finish());
    } else {
      half.Cancel();
      EXPECT_EQ(half.Finish().status.error_code(), StatusCode::CANCELLED);
    }
    Renew();
  }
  twin_->ExpectUntouched();
}

INSTANTIATE_TEST_SUITE_P(States, DataTest, testing::ValuesIn(Twin::States()),
                         [](const auto& info) { return info.param.name; });

// A daemon with these flags and a twin.
class DataLimitsTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& flags) {
    daemon_ = Daemon::Start(flags);
    ASSERT_NE(daemon_, nullptr);
    wire_.emplace(daemon_->tcp());
    twin_.emplace(*wire_, Twin::States()[1]);
  }
  // Under --max_push_streams=1: a push that has come in part.
  Wire::HalfPush TakeTheOnlyStream() {
    wire_->Make(Wire::Spec("other", Twin::kElems, 8));
    const v1::PushHeader header =
        wire_->Header("other", wire_->Open("other", "w"), 1, Twin::Gradient(0));
    return Wire::HalfPush(*wire_, header, Twin::Payload(0), Twin::kChunk);
  }

  std::unique_ptr<Daemon> daemon_;
  std::optional<Wire> wire_;
  std::optional<Twin> twin_;
};

TEST_F(DataLimitsTest, APushWaitsUnreadForMemory) {
  ASSERT_NO_FATAL_FAILURE(Start({"--ingest_memory=4MiB"}));
  // 3 MB: two do not fit, nor one into a Unix socket's buffers.
  constexpr int64_t kElems = 750'000;
  wire_->Make(Wire::Spec("big", kElems, 2));
  const std::vector<float> ones(kElems, 1.0f);
  const std::string payload = FloatBytes(ones);
  DataSocket first(daemon_->uds());
  DataSocket second(daemon_->uds());
  Wire::HalfPush holder = first.Begin(
      *wire_, wire_->Header("big", wire_->Open("big", "one"), 1, ones));
  wire_->AwaitIngest(3'000'000);
  Wire::HalfPush waiting = second.Begin(
      *wire_, wire_->Header("big", wire_->Open("big", "two"), 1, ones));
  std::atomic<bool> sent = false;
  std::thread sender([&] {
    EXPECT_TRUE(second.Send(payload));
    sent = true;
  });
  // The daemon goes on all the while.
  for (int i = 0; i < 8; ++i) ASSERT_NO_FATAL_FAILURE(twin_->Push());
  EXPECT_FALSE(sent);
  EXPECT_LT(wire_->ReservedBytes(), 2 * 3'000'000);
  EXPECT_TRUE(first.Send(payload));
  EXPECT_TRUE(holder.Complete().status.ok());
  EXPECT_TRUE(waiting.Complete().status.ok());
  sender.join();
  EXPECT_FALSE(first.ended());
  EXPECT_FALSE(second.ended());
  EXPECT_EQ(wire_->Describe("big").folded_pushes(), 2);
  // The mean of ones, times the learning rate and 1 - beta1 of PER_CYCLE's
  // gains: what two pushes in messages make of a model.
  wire_->Make(Wire::Spec("same", kElems, 2));
  for (const char* worker : {"one", "two"}) {
    EXPECT_TRUE(
        wire_
            ->Push(wire_->Header("same", wire_->Open("same", worker), 1, ones),
                   payload)
            .status.ok());
  }
  EXPECT_TRUE(wire_->Parameters("big") == wire_->Parameters("same"));
  twin_->ExpectUntouched();
}

TEST_F(DataLimitsTest, WhoeverStopsSendingIsDropped) {
  ASSERT_NO_FATAL_FAILURE(Start({"--push_idle_timeout=1s"}));
  const std::string payload = Twin::Payload(0);
  for (const size_t bytes : {size_t{0}, kHalf}) {
    DataSocket data(daemon_->tcp());
    Wire::HalfPush half = data.Begin(*wire_, twin_->Next());
    EXPECT_TRUE(data.Send(payload.substr(0, bytes)));
    ExpectRefused(half.Complete(), StatusCode::DEADLINE_EXCEEDED,
                  Detail::REASON_SLOW_PUSH);
    data.AwaitEnd();
    // What comes too late is nobody's.
    data.Send(payload.substr(bytes));
  }
  twin_->ExpectUntouched();
}

TEST_F(DataLimitsTest, OneStreamTooManyLeavesTheConnectionToTheNext) {
  ASSERT_NO_FATAL_FAILURE(Start({"--max_push_streams=1"}));
  DataSocket data(daemon_->tcp());
  Wire::HalfPush half = TakeTheOnlyStream();
  wire_->AwaitIngest();
  v1::PushHeader header = twin_->Next();
  header.set_data_connection(data.id());
  header.set_data_payload(1);
  ExpectRefused(Wire::HalfPush(*wire_, header, "", 0).Complete(),
                StatusCode::RESOURCE_EXHAUSTED, Detail::REASON_LIMIT);
  EXPECT_TRUE(half.Complete().status.ok());
  EXPECT_FALSE(data.ended());
  ASSERT_NO_FATAL_FAILURE(twin_->Push(&data));
  twin_->ExpectUntouched();
}

TEST_F(DataLimitsTest, WhatWasSentForAPushThatWasNotSeenIsNoOtherPushs) {
  ASSERT_NO_FATAL_FAILURE(Start({"--max_push_streams=1"}));
  DataSocket data(daemon_->tcp());
  Wire::HalfPush half = TakeTheOnlyStream();
  wire_->AwaitIngest();
  ExpectRefused(data.Push(*wire_, twin_->Next(), Twin::Payload(5)),
                StatusCode::RESOURCE_EXHAUSTED, Detail::REASON_LIMIT);
  EXPECT_TRUE(half.Complete().status.ok());
  // A worker that keeps the connection all the same.
  ExpectRefused(data.Push(*wire_, twin_->Next(), Twin::Payload(0)),
                StatusCode::UNAVAILABLE, Detail::REASON_DATA_CONNECTION);
  data.AwaitEnd();
  twin_->ExpectUntouched();
}

TEST_F(DataLimitsTest, ADrainEndsPayloadsThatAreOnTheirWay) {
  ASSERT_NO_FATAL_FAILURE(Start({"--drain_timeout=60s"}));
  std::vector<std::unique_ptr<DataSocket>> idle;
  for (int i = 0; i < 3; ++i) {
    idle.push_back(std::make_unique<DataSocket>(daemon_->tcp()));
    idle.push_back(std::make_unique<DataSocket>(daemon_->uds()));
  }
  DataSocket data(daemon_->tcp());
  Wire::HalfPush half = data.Begin(*wire_, twin_->Next());
  EXPECT_TRUE(data.Send(Twin::Payload(0).substr(0, kHalf)));
  wire_->AwaitIngest();
  const absl::Time start = absl::Now();
  daemon_->Signal(SIGTERM);
  ExpectRefused(half.Complete(), StatusCode::UNAVAILABLE,
                Detail::REASON_DRAINING);
  EXPECT_EQ(daemon_->AwaitExit(), 0) << daemon_->Log();
  // Connections that are open keep nobody.
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  for (const auto& socket : idle) socket->AwaitEnd();
}

TEST_F(DataLimitsTest, OfManyThatAreRefusedAFewASecondAreTold) {
  using client::internal::DataConnection;
  using client::internal::Target;
  const auto daemon = Daemon::Start({"--max_data_connections=1"});
  const DataSocket only(daemon->tcp());
  const absl::Time start = absl::Now();
  for (int i = 0; i < 200; ++i) {
    EXPECT_FALSE(DataConnection::Open(*Target::Parse(daemon->tcp()),
                                      start + Daemon::kPatience)
                     .ok());
  }
  const int64_t seconds = absl::ToInt64Seconds(absl::Now() - start) + 1;
  const std::vector<std::string> told =
      absl::StrSplit(daemon->Log(), "a data connection is refused");
  EXPECT_GT(std::ssize(told) - 1, 0);
  EXPECT_LE(std::ssize(told) - 1, 10 * (seconds + 1));
}

TEST_F(DataLimitsTest, ADaemonThatIsKilledEndsThemAll) {
  ASSERT_NO_FATAL_FAILURE(Start({}));
  DataSocket data(daemon_->tcp());
  Wire::HalfPush half = data.Begin(*wire_, twin_->Next());
  EXPECT_TRUE(data.Send(Twin::Payload(0).substr(0, kHalf)));
  wire_->AwaitIngest();
  daemon_->Kill();
  EXPECT_EQ(half.Finish().status.error_code(), StatusCode::UNAVAILABLE);
  data.AwaitEnd();
}

}  // namespace
}  // namespace accrue
