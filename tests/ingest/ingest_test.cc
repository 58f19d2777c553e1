// What a stream brings: pushes, values, and what they may not hold.

#include "server/ingest/ingest.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/ingest/admission.h"
#include "tests/ingest/fake_call.h"
#include "tests/ingest/fake_model.h"
#include "tests/ingest/ingest_fixture.h"

namespace accrue {
namespace {

TEST_F(IngestTest, ACompletePushReachesItsModelScannedAndHashed) {
  Start(Patient());
  model("a").set_look([&](const Push& push) {
    EXPECT_EQ(push.header.session_id, "session");
    EXPECT_EQ(push.payload.size_bytes(), kBytes);
    EXPECT_EQ(push.hash, HashOf(kBytes));
    EXPECT_EQ(push.first_non_finite, -1);
    EXPECT_FLOAT_EQ(static_cast<float>(push.max_abs), 0.999f);
    ASSERT_EQ(push.group_square_sums.size(), 2u);
    double sum = 0;
    for (int64_t i = 0; i < kElems; ++i) {
      const double x = values_[static_cast<size_t>(i)];
      sum += x * x;
    }
    // Sums of 2^14 positive doubles in any order: within 2^14 roundings.
    EXPECT_NEAR(push.group_square_sums[0] + push.group_square_sums[1], sum,
                sum * kElems * 0x1p-53);
    EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest),
              Admission::ChargeOf(kBytes));
  });
  const auto call = PushUpTo("a", kBytes);
  EXPECT_EQ(ingest_->reserved_bytes(), Admission::ChargeOf(kBytes));
  EXPECT_EQ(ingest_->stream_count(), 1);
  EXPECT_FALSE(call->answered());
  call->SendEnd();
  const auto outcome = call->AwaitAnswer();
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->folded_pushes, 1);
}

TEST_F(IngestTest, APushTellsHowLongItWillTakeOnceItHasBegun) {
  Start(Patient());
  const auto call = PushUpTo("a", 0);
  const std::shared_ptr<Arrival> arrival = model("a").arrival();
  ASSERT_NE(arrival, nullptr);
  EXPECT_EQ(arrival->TimeLeft(), absl::InfiniteDuration());
  // However slow this test is, one of these is in time.
  bool told = false;
  for (int64_t at = 0; at < kBytes; at += kChunk) {
    call->SendChunk(Bytes(at, std::min(at + kChunk, kBytes)));
    call->AwaitRead();
    told = told || arrival->TimeLeft() < absl::Minutes(1);
  }
  EXPECT_TRUE(told);
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, APushThatStopsTellsNoLongerHowLongItWillTake) {
  Start(Patient());
  const auto call = PushUpTo("a", 0);
  const std::shared_ptr<Arrival> arrival = model("a").arrival();
  ASSERT_NE(arrival, nullptr);
  call->SendChunk(Bytes(0, kBytes - 1));
  call->AwaitRead();
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  while (arrival->TimeLeft() != absl::InfiniteDuration()) {
    ASSERT_LT(absl::Now(), deadline);
    std::this_thread::yield();
  }
  call->SendChunk(Bytes(kBytes - 1, kBytes));
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, OfAPushThatStaysNothingIsKeptThatItWasReadWith) {
  Start(Patient());
  for (const bool gathers : {false, true}) {
    const std::string name = gathers ? "gathers" : "b";
    bool looked = false;
    model(name).set_look([&](const Push& push) {
      EXPECT_EQ(push.payload.size_bytes(), kBytes);
      EXPECT_EQ(live_spans == 0, gathers);
      looked = true;
    });
    const auto call = PushUpTo(name, kBytes);
    call->SendEnd();
    EXPECT_TRUE(call->AwaitAnswer().ok());
    EXPECT_TRUE(looked);
  }
}

TEST_F(IngestTest, ASmallPushIsOneMessage) {
  Start(Patient());
  PushHeader header = Header("small");
  header.checksum = HashOf(256);
  const auto call = StartPush(*ingest_);
  call->SendHeader(header, Bytes(0, 256));
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, AnUnknownModelIsNamed) {
  Start(Patient());
  const auto call = StartPush(*ingest_);
  PushHeader header;
  header.model = "other";
  call->SendHeader(header, Bytes(0, 100));
  ExpectError(*call, absl::StatusCode::kNotFound, Reason::kModelUnknown);
}

TEST_F(IngestTest, AHeaderThatContradictsItselfOrTheModelIsRefused) {
  Start(Patient());
  const auto expect = [&](auto edit, Reason reason,
                          const std::string& problem) {
    PushHeader header = Header("a");
    edit(header);
    const auto call = StartPush(*ingest_);
    call->SendHeader(header, Bytes(0, 100));
    ExpectError(*call, absl::StatusCode::kInvalidArgument, reason);
    EXPECT_EQ(call->AwaitAnswer().status().message(),
              "gradient for model \"a\": " + problem);
    EXPECT_EQ(GetErrorInfo(call->AwaitAnswer().status()).subject, "a");
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  expect([](PushHeader& h) { h.payload_bytes = 32768; }, Reason::kWrongShape,
         "32768 bytes, want 65536");
  expect([](PushHeader& h) { h.encoding = kernels::Encoding::kBf16; },
         Reason::kWrongShape, "65536 bytes, want 32768");
  expect([](PushHeader& h) { h.payload_bytes = -1; }, Reason::kWrongShape,
         "-1 bytes, want 65536");
  expect(
      [](PushHeader& h) {
        h.encoding = kernels::Encoding::kTopK;
        h.payload_bytes = 65544;
      },
      Reason::kWrongShape,
      "65544 bytes of pairs, want 8 to 65536 in steps of 8: no more than in "
      "F32");
  expect([](PushHeader& h) { h.sequence = 0; }, Reason::kUnspecified,
         "sequence 0, want at least 1");
  for (const int64_t number :
       {int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    expect([number](PushHeader& h) { h.version.number = number; },
           Reason::kUnspecified,
           absl::StrCat("version ", number, ", want at least 0"));
  }
  expect([](PushHeader& h) { h.micro_steps = 0; }, Reason::kUnspecified,
         "micro_steps 0, want at least 1");
  expect([](PushHeader& h) { h.weight = 0; }, Reason::kUnspecified,
         "weight 0, want above 0 and at most 1000 times the nominal 1");
  expect([](PushHeader& h) { h.weight = 1001; }, Reason::kUnspecified,
         "weight 1001, want above 0 and at most 1000 times the nominal 1");
  expect([](PushHeader& h) { h.weight = std::nan(""); }, Reason::kUnspecified,
         "weight nan, want above 0 and at most 1000 times the nominal 1");
  expect([](PushHeader& h) { h.scale = 0; }, Reason::kUnspecified,
         "scale 0, want 2^-100 to 2^100");
  expect([](PushHeader& h) { h.scale = kInfinity; }, Reason::kUnspecified,
         "scale inf, want 2^-100 to 2^100");
  expect([](PushHeader& h) { h.scale = std::nan(""); }, Reason::kUnspecified,
         "scale nan, want 2^-100 to 2^100");
}

TEST_F(IngestTest, TheModelsRefusalOfAHeaderIsTheAnswer) {
  Start(Patient());
  model("a").set_begin([](const PushHeader&) {
    return MakeError(absl::StatusCode::kAborted, Reason::kStale, "too old");
  });
  const auto call = StartPush(*ingest_);
  call->SendHeader(Header("a"), Bytes(0, 100));
  ExpectError(*call, absl::StatusCode::kAborted, Reason::kStale);
  EXPECT_FALSE(call->reading());
}

TEST_F(IngestTest, ADuplicateIsAnsweredWithoutItsPayload) {
  Start(Patient());
  model("a").set_begin([](const PushHeader&) {
    BegunPush begun;
    begun.duplicate.emplace();
    begun.duplicate->folded_pushes = 7;
    begun.duplicate->duplicate = true;
    return begun;
  });
  const auto call = StartPush(*ingest_);
  call->SendHeader(Header("a"), Bytes(0, 100));
  const auto outcome = call->AwaitAnswer();
  ASSERT_TRUE(outcome.ok());
  EXPECT_TRUE(outcome->duplicate);
  EXPECT_EQ(outcome->folded_pushes, 7);
  EXPECT_FALSE(call->reading());
}

TEST_F(IngestTest, AStreamThatEndsEarlyIsPartial) {
  Start(Patient());
  for (const int64_t bytes : {int64_t{0}, kChunk, kBytes - kChunk}) {
    const auto call = PushUpTo("a", bytes);
    call->SendEnd();
    ExpectError(*call, absl::StatusCode::kInvalidArgument, Reason::kPartial);
    EXPECT_EQ(ingest_->reserved_bytes(), 0);
  }
  const auto none = StartPush(*ingest_);
  none->SendEnd();
  ExpectError(*none, absl::StatusCode::kInvalidArgument, Reason::kPartial);
}

TEST_F(IngestTest, AFirstMessageWithoutHeaderIsRefused) {
  Start(Patient());
  const auto call = StartPush(*ingest_);
  call->SendChunk(Bytes(0, 100));
  ExpectError(*call, absl::StatusCode::kInvalidArgument, Reason::kUnspecified);
}

TEST_F(IngestTest, MoreThanAnnouncedIsRefusedAtOnce) {
  Start(Patient());
  const auto call = PushUpTo("a", kBytes - kChunk);
  call->SendChunk(Bytes(0, kChunk + 4));
  ExpectError(*call, absl::StatusCode::kInvalidArgument, Reason::kWrongShape);
  EXPECT_FALSE(call->reading());
}

TEST_F(IngestTest, SmallChunksAreRefused) {
  Start(Patient());
  const auto call = PushUpTo("a", kChunk);
  call->SendChunk(Bytes(0, kChunk - 1));
  ExpectError(*call, absl::StatusCode::kInvalidArgument, Reason::kWrongShape);
}

TEST_F(IngestTest, AnElementThatIsNotFiniteIsReportedWithItsPosition) {
  Start(Patient());
  values_[10'000] = std::nanf("");
  int64_t seen = -1;
  model("a").set_look([&](const Push& push) { seen = push.first_non_finite; });
  const auto call = PushUpTo("a", kBytes);
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
  EXPECT_EQ(seen, 10'000);
}

TEST_F(IngestTest, AnotherChecksumIsRefused) {
  Start(Patient());
  PushHeader header = Header("small");
  header.checksum = HashOf(256) + 1;
  const auto call = StartPush(*ingest_);
  call->SendHeader(header, Bytes(0, 256));
  call->SendEnd();
  ExpectError(*call, absl::StatusCode::kInvalidArgument, Reason::kChecksum);
}

TEST_F(IngestTest, ACancelledPushIsForgottenAtEveryStage) {
  Start(Patient(1));
  const auto expect_cancelled = [](FakePush& call) {
    call.Cancel();
    EXPECT_TRUE(absl::IsCancelled(call.AwaitAnswer().status()));
  };
  expect_cancelled(*StartPush(*ingest_));
  const auto receiving = PushUpTo("a", kChunk);
  const auto waiting = StartPush(*ingest_);
  waiting->SendHeader(Header("a"), Bytes(0, 100));
  EXPECT_FALSE(waiting->reading());
  expect_cancelled(*waiting);
  expect_cancelled(*receiving);
  EXPECT_EQ(ingest_->reserved_bytes(), 0);
  expect_cancelled(*PushUpTo("a", kBytes));  // all is here, but not its end
}

TEST_F(IngestTest, ACancelAfterTheEndDoesNotTakeThePushBack) {
  Start(Patient());
  model("a").set_hold(true);
  const auto call = PushUpTo("a", kBytes);
  call->SendEnd();
  call->Cancel();
  EXPECT_FALSE(call->answered());
  model("a").Fold();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, EventsAfterTheAnswerAreIgnored) {
  Start(Patient());
  const auto call = PushUpTo("a", kChunk);
  call->Cancel();
  call->SendChunk(Bytes(0, kChunk));  // the read that was outstanding
  call->stream().OnEnd();
  call->Cancel();
  EXPECT_TRUE(absl::IsCancelled(call->AwaitAnswer().status()));
}

TEST_F(IngestTest, StreamsOutliveTheIngestThatMadeThem) {
  Start(Patient());
  const auto call = PushUpTo("a", kBytes);
  ingest_ = nullptr;
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
}

TEST_F(IngestTest, ValuesInitializeAModel) {
  Start(Patient());
  values_[5] = std::nanf("");
  const auto call = StartInitialize(*ingest_);
  InitializeHeader header;
  header.model = "a";
  header.encoding = kernels::Encoding::kF32;
  header.payload_bytes = kBytes;
  call->SendHeader(header, Bytes(0, 100));
  call->SendChunk(Bytes(100, kBytes));
  call->SendEnd();
  const auto version = call->AwaitAnswer();
  ASSERT_TRUE(version.ok());
  EXPECT_EQ(version->lineage, "lineage");
  EXPECT_EQ(model("a").initialized_bytes(), kBytes);
  EXPECT_EQ(model("a").first_non_finite(), 5);
}

TEST_F(IngestTest, InitializersNeedNoPayload) {
  Start(Patient());
  const auto call = StartInitialize(*ingest_);
  InitializeHeader header;
  header.model = "a";
  header.initializers.resize(2);
  call->SendHeader(header);
  EXPECT_EQ(ingest_->reserved_bytes(), 0);
  call->SendEnd();
  EXPECT_TRUE(call->AwaitAnswer().ok());
  EXPECT_EQ(model("a").initialized_bytes(), 0);
  EXPECT_EQ(model("a").initializer_count(), 2);
}

TEST_F(IngestTest, ADrainingModelRefusesValuesWithTheirHeader) {
  Start(Patient());
  model("a").set_draining(true);
  const auto call = StartInitialize(*ingest_);
  InitializeHeader header;
  header.model = "a";
  header.encoding = kernels::Encoding::kF32;
  header.payload_bytes = kBytes;
  call->SendHeader(header, Bytes(0, 100));
  ExpectError(*call, absl::StatusCode::kUnavailable, Reason::kDraining);
  EXPECT_EQ(model("a").initialized_bytes(), -1);
}

TEST_F(IngestTest, AHalfSentInitializationLeavesNothing) {
  Start(Patient());
  const auto partial = StartInitialize(*ingest_);
  InitializeHeader header;
  header.model = "a";
  header.encoding = kernels::Encoding::kF16;
  header.payload_bytes = kBytes / 2;
  partial->SendHeader(header, Bytes(0, kChunk));
  partial->SendEnd();
  ExpectError(*partial, absl::StatusCode::kInvalidArgument, Reason::kPartial);
  EXPECT_EQ(model("a").initialized_bytes(), -1);

  const auto shape = StartInitialize(*ingest_);
  header.encoding = std::nullopt;
  shape->SendHeader(header, Bytes(0, kChunk));
  ExpectError(*shape, absl::StatusCode::kInvalidArgument, Reason::kWrongShape);

  const auto both = StartInitialize(*ingest_);
  header.encoding = kernels::Encoding::kF16;
  header.initializers.resize(1);
  both->SendHeader(header);
  ExpectError(*both, absl::StatusCode::kInvalidArgument, Reason::kUnspecified);
}

}  // namespace
}  // namespace accrue
