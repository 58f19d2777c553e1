// What proto/accrue/v1/error.proto says of a daemon that is busy, slow to be
// read from, or on its way out. Models go on as if nothing had been sent.
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

// A daemon with these flags and a twin.
class LimitsTest : public ::testing::Test {
 protected:
  explicit LimitsTest(const std::vector<std::string>& flags)
      : daemon_(Daemon::Start(flags)),
        wire_(daemon_->tcp()),
        twin_(wire_, Twin::States()[1]) {}

  // A pull of which only the first message is read, on a connection of its
  // own, whose socket nobody else reads either.
  struct Reader {
    explicit Reader(const std::string& target) : wire(target) {}

    void ReadOne(const std::string& model) {
      v1::PullRequest request;
      request.set_model(model);
      request.set_encoding(v1::ENCODING_F32);
      call = wire.workers().Pull(&context, request);
      ASSERT_TRUE(call->Read(&response));
      bytes = response.chunk();
    }
    Ending ReadOn() {
      while (call->Read(&response)) bytes += response.chunk();
      return EndOf(call->Finish(), context);
    }

    Wire wire;
    BoundedContext context;
    v1::PullResponse response;
    std::string bytes;
    std::unique_ptr<grpc::ClientReader<v1::PullResponse>> call;
  };

  // More than the sockets and windows between two processes hold.
  static constexpr int64_t kLargeElems = 4 << 20;

  v1::ModelSpec Large() {
    v1::ModelSpec spec = Wire::Spec("large", kLargeElems, 1);
    spec.set_max_publications(2);
    return spec;
  }

  std::unique_ptr<Daemon> daemon_;
  Wire wire_;
  Twin twin_;
};

void ExpectBusy(const Ending& ending, Detail::Reason reason) {
  ExpectRefused(ending, StatusCode::RESOURCE_EXHAUSTED, reason);
  EXPECT_GT(ending.detail.retry_after().seconds() * 1'000'000'000 +
                ending.detail.retry_after().nanos(),
            0);
}

class FullTest : public LimitsTest {
 protected:
  FullTest()
      : LimitsTest({"--ingest_memory=1MiB", "--admission_timeout=200ms",
                    "--push_idle_timeout=1s"}) {}
};

TEST_F(FullTest, FullBudgetsAndSlowSenders) {
  // 200,000 elements: 800 kB, so that two do not fit.
  wire_.Make(Wire::Spec("big", 200'000, 4));
  const std::vector<float> big(200'000, 1.0f);
  const std::string payload = FloatBytes(big);
  const std::string one = wire_.Open("big", "one");
  const std::string two = wire_.Open("big", "two");
  Wire::HalfPush frozen(wire_, wire_.Header("big", one, 1, big), payload,
                        65536);
  wire_.AwaitIngest(800'000);
  ExpectBusy(wire_.Push(wire_.Header("big", two, 1, big), payload),
             Detail::REASON_INGEST_MEMORY);
  ExpectRefused(frozen.Finish(), StatusCode::DEADLINE_EXCEEDED,
                Detail::REASON_SLOW_PUSH);
  EXPECT_TRUE(
      wire_.Push(wire_.Header("big", two, 1, big), payload).status.ok());
  EXPECT_TRUE(
      wire_.Push(wire_.Header("big", one, 1, big), payload).status.ok());
  twin_.ExpectUntouched();
}

class StreamsTest : public LimitsTest {
 protected:
  StreamsTest() : LimitsTest({"--max_push_streams=3"}) {}
};

TEST_F(StreamsTest, AsManyAsTheFlagSaysAndNoneMore) {
  wire_.Make(Wire::Spec("many", Twin::kElems, 8));
  const auto header = [&](const std::string& worker) {
    return wire_.Header("many", wire_.Open("many", worker), 1,
                        Twin::Gradient(0));
  };
  const std::string payload = Twin::Payload(0);
  std::vector<std::unique_ptr<Wire::HalfPush>> halves;
  for (int i = 1; i <= 3; ++i) {
    halves.push_back(std::make_unique<Wire::HalfPush>(
        wire_, header(absl::StrCat("w", i)), payload, Twin::kChunk));
    wire_.AwaitIngest(i * static_cast<int64_t>(payload.size()));
  }
  const v1::PushHeader fourth = header("w4");
  ExpectBusy(wire_.Push(fourth, payload), Detail::REASON_LIMIT);
  EXPECT_TRUE(halves[1]->Complete().status.ok());
  EXPECT_TRUE(wire_.Push(fourth, payload).status.ok());
  EXPECT_TRUE(halves[0]->Complete().status.ok());
  EXPECT_TRUE(halves[2]->Complete().status.ok());
  EXPECT_EQ(wire_.Describe("many").folded_pushes(), 4);
  twin_.ExpectUntouched();
}

TEST_F(FullTest, AModelWhosePushCannotFitIsRefusedWithTheFlagsName) {
  const Ending ending = wire_.Create(Wire::Spec("huge", 1 << 20, 1));
  ExpectRefused(ending, StatusCode::INVALID_ARGUMENT,
                Detail::REASON_INVALID_SPEC);
  EXPECT_THAT(ending.status.error_message(),
              testing::HasSubstr("--ingest_memory"));
  twin_.ExpectUntouched();
}

class ExpiryTest : public LimitsTest {
 protected:
  ExpiryTest() : LimitsTest({"--session_ttl=2s"}) {}
};

TEST_F(ExpiryTest, IdleSessionsAreUnknownAndOpenedAnew) {
  // One whose push is on its way is not idle.
  wire_.Make(Wire::Spec("slow", Twin::kElems, 1));
  const std::string busy = wire_.Open("slow", "busy");
  Wire::HalfPush half(wire_, wire_.Header("slow", busy, 1, Twin::Gradient(0)),
                      Twin::Payload(0), Twin::kChunk);
  wire_.AwaitIngest();
  const std::string old = twin_.session();
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (!wire_.Sessions("model").empty() || !wire_.Sessions("twin").empty()) {
    ASSERT_LT(absl::Now(), deadline);
  }
  ExpectRefused(wire_.Push(twin_.Next(), Twin::Payload(0)),
                StatusCode::NOT_FOUND, Detail::REASON_SESSION_UNKNOWN);
  ExpectRefused(wire_.TryOpen("model", "w", old), StatusCode::NOT_FOUND,
                Detail::REASON_SESSION_UNKNOWN);
  EXPECT_TRUE(half.Complete().status.ok());
  twin_.Reopen();
  EXPECT_NE(twin_.session(), old);
  twin_.ExpectUntouched();
}

class ReadersTest : public LimitsTest {
 protected:
  ReadersTest() : LimitsTest({"--drain_timeout=10s"}) {}
};

// The call was cancelled, or its connection closed.
void ExpectCutOff(const Ending& ending) {
  EXPECT_THAT(ending.status.error_code(),
              testing::AnyOf(StatusCode::ABORTED, StatusCode::UNAVAILABLE))
      << ending.status.error_message();
}

// Its version's memory is needed for a third one.
TEST_F(ReadersTest, AReaderThatIsTooSlowIsToldSo) {
  wire_.Make(Large());
  const std::string session = wire_.Open("large", "w");
  const std::vector<float> gradient(kLargeElems, 1.0f);
  const std::string payload = FloatBytes(gradient);
  int64_t sequence = 0;
  bool told = false;
  // It reads on in the moment in which it is told, and may be at its end
  // before.
  for (int round = 0; round < 100 && !told; ++round) {
    const std::string before = wire_.Parameters("large");
    Reader reader(daemon_->tcp());
    ASSERT_NO_FATAL_FAILURE(reader.ReadOne("large"));
    v1::PushHeader header =
        wire_.Header("large", session, ++sequence, gradient);
    ASSERT_TRUE(wire_.Push(header, payload).status.ok());
    header = wire_.Header("large", session, ++sequence, gradient);
    Wire::HalfPush second(wire_, header, payload,
                          payload.size() - Twin::kChunk);
    std::thread pusher([&] { EXPECT_TRUE(second.Complete().status.ok()); });
    const Ending ending = reader.ReadOn();
    pusher.join();
    if (ending.status.ok()) {
      EXPECT_TRUE(reader.bytes == before);
      continue;
    }
    if (ending.detail.reason() == Detail::REASON_UNSPECIFIED) {
      ExpectCutOff(ending);  // it was too slow even for that
      continue;
    }
    told = true;
    ExpectRefused(ending, StatusCode::ABORTED, Detail::REASON_SLOW_READER);
    EXPECT_EQ(ending.detail.subject(), "large");
    EXPECT_EQ(ending.detail.current_version(), header.version().number());
    EXPECT_EQ(ending.detail.lineage(), header.version().lineage());
    // A pull on the same connection works.
    EXPECT_TRUE(reader.wire.Parameters("large") == wire_.Parameters("large"));
  }
  EXPECT_TRUE(told);
  EXPECT_EQ(wire_.Describe("large").folded_pushes(), sequence);
  twin_.ExpectUntouched();
}

TEST_F(ReadersTest, AReaderThatDoesNotReadIsEndedAndUpdatesGoOn) {
  wire_.Make(Large());
  Reader reader(daemon_->tcp());
  ASSERT_NO_FATAL_FAILURE(reader.ReadOne("large"));
  const std::string session = wire_.Open("large", "w");
  const std::vector<float> gradient(kLargeElems, 1.0f);
  for (int i = 1; i <= 3; ++i) {
    const Ending pushed = wire_.Push(
        wire_.Header("large", session, i, gradient), FloatBytes(gradient));
    ASSERT_TRUE(pushed.status.ok()) << pushed.status.error_message();
    EXPECT_LE(wire_.Describe("large").memory().publications(), 2);
  }
  ExpectCutOff(reader.ReadOn());
  // -lr times 1, 1 + 1/2 and 1 + 1/2 + 1/4.
  EXPECT_TRUE(wire_.Parameters("large") ==
              FloatBytes(std::vector<float>(kLargeElems, -2.125f)));
  twin_.ExpectUntouched();
}

TEST_F(ReadersTest, ADrainEndsPushesAndTakesNoNewOnes) {
  wire_.Make(Large());
  Reader reader(daemon_->tcp());
  ASSERT_NO_FATAL_FAILURE(reader.ReadOne("large"));
  Wire::HalfPush half(wire_, twin_.Next(), Twin::Payload(0), Twin::kChunk);
  wire_.AwaitIngest();
  const v1::PushHeader next = twin_.Next();
  daemon_->Signal(SIGTERM);
  ExpectRefused(half.Finish(), StatusCode::UNAVAILABLE,
                Detail::REASON_DRAINING);
  // The reader keeps the daemon from leaving.
  ExpectRefused(wire_.Push(next, Twin::Payload(0)), StatusCode::UNAVAILABLE,
                Detail::REASON_DRAINING);
  ExpectRefused(wire_.TryOpen("model", "late", ""), StatusCode::UNAVAILABLE,
                Detail::REASON_DRAINING);
  ExpectRefused(wire_.Create(Wire::Spec("late", 1, 1)), StatusCode::UNAVAILABLE,
                Detail::REASON_DRAINING);
  EXPECT_EQ(wire_.Describe("model").folded_pushes(),
            wire_.Describe("twin").folded_pushes());
  EXPECT_TRUE(wire_.Parameters("model") == wire_.Parameters("twin"));
  EXPECT_TRUE(reader.ReadOn().status.ok());
  EXPECT_EQ(daemon_->AwaitExit(), 0);
}

}  // namespace
}  // namespace accrue
