// Each row of protocol.md's table of errors, against the real daemon. After
// every refusal the model must go on as if nothing had been sent: its twin,
// which only gets the good pushes, ends with the same bits.
#include <cmath>
#include <csignal>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

constexpr int64_t kElems = 12'345;  // 49,380 bytes: four chunks of 16 KiB

std::vector<float> Gradient(int64_t seed) {
  std::vector<float> gradient(kElems);
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] =
        std::sin(static_cast<float>(seed) + static_cast<float>(i) * 0.37f);
  }
  return gradient;
}

class ErrorsTest : public ::testing::Test {
 protected:
  ErrorsTest() : ErrorsTest(std::vector<std::string>()) {}
  explicit ErrorsTest(const std::vector<std::string>& flags)
      : daemon_(Daemon::Start(flags)), wire_(daemon_->tcp()) {
    for (const char* model : {"model", "twin"}) {
      v1::ModelSpec spec = Wire::Spec(model, kElems, 4);
      spec.set_max_pushes_per_worker(4);
      wire_.Make(spec);
    }
    session_ = wire_.Open("model", "w");
    twin_session_ = wire_.Open("twin", "w");
  }

  v1::PushHeader Next() {
    return wire_.Header("model", session_, sequence_ + 1, Gradient(0));
  }

  // The next good push, to both models.
  void PushBoth() {
    ++sequence_;
    const std::string payload = FloatBytes(Gradient(sequence_));
    for (const auto& [model, session] :
         {std::pair("model", session_), std::pair("twin", twin_session_)}) {
      const Ending ending = wire_.Push(
          wire_.Header(model, session, sequence_, Gradient(sequence_)),
          payload);
      ASSERT_TRUE(ending.status.ok())
          << model << ": " << ending.status.error_message();
    }
  }

  void ExpectRefused(const Ending& ending, StatusCode code,
                     Detail::Reason reason) {
    EXPECT_EQ(ending.status.error_code(), code)
        << ending.status.error_message();
    EXPECT_EQ(ending.detail.reason(), reason) << ending.status.error_message();
    EXPECT_FALSE(ending.status.error_message().empty());
  }

  // A good push still works, and the twin agrees in every bit: now and, as the
  // momentum shows, in what is hidden.
  void ExpectUntouched() {
    for (int i = 0; i < 5; ++i) PushBoth();
    const v1::Model model = wire_.Describe("model");
    const v1::Model twin = wire_.Describe("twin");
    EXPECT_EQ(model.folded_pushes(), twin.folded_pushes());
    EXPECT_EQ(model.version().number(), twin.version().number());
    EXPECT_EQ(model.groups(0).position(), twin.groups(0).position());
    EXPECT_EQ(wire_.Parameters("model"), wire_.Parameters("twin"));
  }

  std::unique_ptr<Daemon> daemon_;
  Wire wire_;
  std::string session_, twin_session_;
  int64_t sequence_ = 0;
};

TEST_F(ErrorsTest, RequestsThatContradictThemselvesOrTheModel) {
  PushBoth();
  const std::string payload = FloatBytes(Gradient(0));
  struct Row {
    const char* name;
    std::function<void(v1::PushHeader&)> spoil;
    Detail::Reason reason;
  };
  const std::vector<Row> rows = {
      {"wrong shape", [](auto& h) { h.set_payload_bytes(kElems * 4 - 4); },
       Detail::REASON_WRONG_SHAPE},
      {"other encoding", [](auto& h) { h.set_encoding(v1::ENCODING_BF16); },
       Detail::REASON_WRONG_SHAPE},
      {"no encoding", [](auto& h) { h.set_encoding(v1::ENCODING_UNSPECIFIED); },
       Detail::REASON_UNSPECIFIED},
      {"negative bytes", [](auto& h) { h.set_payload_bytes(-1); },
       Detail::REASON_WRONG_SHAPE},
      {"weight 0", [](auto& h) { h.set_weight(0); },
       Detail::REASON_UNSPECIFIED},
      {"weight NaN", [](auto& h) { h.set_weight(std::nan("")); },
       Detail::REASON_UNSPECIFIED},
      {"weight too large", [](auto& h) { h.set_weight(1001); },
       Detail::REASON_UNSPECIFIED},
      {"scale 0", [](auto& h) { h.set_scale(0); }, Detail::REASON_UNSPECIFIED},
      {"micro_steps 0", [](auto& h) { h.set_micro_steps(0); },
       Detail::REASON_UNSPECIFIED},
      {"micro_steps 3 of 4", [](auto& h) { h.set_micro_steps(3); },
       Detail::REASON_UNSPECIFIED},
      {"sequence 0", [](auto& h) { h.set_sequence(0); },
       Detail::REASON_UNSPECIFIED},
      {"negative version", [](auto& h) { h.mutable_version()->set_number(-1); },
       Detail::REASON_UNSPECIFIED},
      {"smallest version",
       [](auto& h) {
         h.mutable_version()->set_number(std::numeric_limits<int64_t>::min());
       },
       Detail::REASON_UNSPECIFIED},
      {"checksum", [](auto& h) { h.set_checksum(1); }, Detail::REASON_CHECKSUM},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    v1::PushHeader header = Next();
    row.spoil(header);
    ExpectRefused(wire_.Push(header, payload), StatusCode::INVALID_ARGUMENT,
                  row.reason);
  }
  ExpectUntouched();
}

TEST_F(ErrorsTest, PartialOversizedAndMinutelyCutPushes) {
  PushBoth();
  const std::string payload = FloatBytes(Gradient(0));
  ExpectRefused(wire_.Push(Next(), payload.substr(0, payload.size() - 1)),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_PARTIAL);
  ExpectRefused(wire_.Push(Next(), ""), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_PARTIAL);
  ExpectRefused(wire_.Push(Next(), payload + "1234"),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_WRONG_SHAPE);
  EXPECT_EQ(wire_.Push(Next(), payload, nullptr, 1000).status.error_code(),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(wire_
                  .Push(wire_.Header("model", session_, 1, Gradient(1)),
                        FloatBytes(Gradient(1)), nullptr, 16384)
                  .status.ok());  // a duplicate, in the smallest chunks
  ExpectUntouched();
}

TEST_F(ErrorsTest, AStreamWithoutHeaderAndOneWithTwo) {
  grpc::ClientContext context;
  v1::PushResponse response;
  auto writer = wire_.workers().Push(&context, &response);
  v1::PushRequest request;
  request.set_chunk("abcd");
  writer->Write(request);
  writer->WritesDone();
  ExpectRefused(EndOf(writer->Finish(), context), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_UNSPECIFIED);

  grpc::ClientContext again;
  writer = wire_.workers().Push(&again, &response);
  request.Clear();
  *request.mutable_header() = Next();
  writer->Write(request);
  writer->Write(request);
  writer->WritesDone();
  ExpectRefused(EndOf(writer->Finish(), again), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_UNSPECIFIED);
  ExpectUntouched();
}

TEST_F(ErrorsTest, GradientsThatAreNotFiniteOrCannotBeSquared) {
  PushBoth();
  const float inf = std::numeric_limits<float>::infinity();
  for (float bad : {std::nanf(""), inf, -inf, 0x1p64f}) {
    std::vector<float> gradient = Gradient(0);
    gradient[kElems - 1] = bad;
    ExpectRefused(wire_.Push(Next(), FloatBytes(gradient)),
                  StatusCode::INVALID_ARGUMENT, Detail::REASON_NON_FINITE);
  }
  ExpectUntouched();
}

TEST_F(ErrorsTest, UnknownModelsAndTakenNames) {
  v1::PushHeader header = Next();
  header.set_model("nobody");
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::NOT_FOUND, Detail::REASON_MODEL_UNKNOWN);
  ExpectRefused(wire_.TryOpen("nobody", "w", ""), StatusCode::NOT_FOUND,
                Detail::REASON_MODEL_UNKNOWN);
  ExpectRefused(wire_.Delete("nobody"), StatusCode::NOT_FOUND,
                Detail::REASON_MODEL_UNKNOWN);
  ExpectRefused(wire_.Create(Wire::Spec("model", kElems, 2)),
                StatusCode::ALREADY_EXISTS, Detail::REASON_MODEL_EXISTS);
  ExpectRefused(wire_.Initialize("model"), StatusCode::ALREADY_EXISTS,
                Detail::REASON_ALREADY_INITIALIZED);
  ExpectRefused(wire_.Create(Wire::Spec("../model", kElems, 2)),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_INVALID_SPEC);
  ExpectUntouched();
}

TEST_F(ErrorsTest, StaleAndFuturePushesAndOtherLineages) {
  v1::PushHeader stale = wire_.Header("model", session_, 5, Gradient(0));
  for (int i = 0; i < 4; ++i) PushBoth();  // an update
  const Ending ending = wire_.Push(stale, FloatBytes(Gradient(0)));
  ExpectRefused(ending, StatusCode::ABORTED, Detail::REASON_STALE);
  EXPECT_EQ(ending.detail.current_version(), 1);
  EXPECT_EQ(ending.detail.lineage(),
            wire_.Describe("model").version().lineage());
  v1::PushHeader future = Next();
  future.mutable_version()->set_number(2);
  ExpectRefused(wire_.Push(future, FloatBytes(Gradient(0))),
                StatusCode::OUT_OF_RANGE, Detail::REASON_FUTURE);
  v1::PushHeader other = Next();
  other.mutable_version()->set_lineage(std::string(32, '0'));
  ExpectRefused(wire_.Push(other, FloatBytes(Gradient(0))), StatusCode::ABORTED,
                Detail::REASON_LINEAGE_CHANGED);
  ExpectUntouched();
}

TEST_F(ErrorsTest, DuplicatedReorderedAndReusedSequences) {
  PushBoth();
  const v1::PushHeader first = wire_.Header("model", session_, 1, Gradient(1));
  v1::PushResponse answer;
  ASSERT_TRUE(wire_.Push(first, FloatBytes(Gradient(1)), &answer).status.ok());
  EXPECT_TRUE(answer.duplicate());
  EXPECT_EQ(answer.folded_pushes(), 1);
  ExpectRefused(wire_.Push(first, FloatBytes(Gradient(2))),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_SEQUENCE_REUSED);
  v1::PushHeader skipped = Next();
  skipped.set_sequence(3);
  ExpectRefused(wire_.Push(skipped, FloatBytes(Gradient(0))),
                StatusCode::OUT_OF_RANGE, Detail::REASON_FUTURE);
  PushBoth();
  ExpectRefused(wire_.Push(first, FloatBytes(Gradient(1))),
                StatusCode::FAILED_PRECONDITION, Detail::REASON_SEQUENCE_OLD);
  ExpectUntouched();
}

TEST_F(ErrorsTest, FencedAndUnknownSessions) {
  PushBoth();
  const std::string old = session_;
  session_ = wire_.Open("model", "w");
  twin_session_ = wire_.Open("twin", "w");
  sequence_ = 0;
  v1::PushHeader header = wire_.Header("model", old, 2, Gradient(0));
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::ABORTED, Detail::REASON_SESSION_FENCED);
  ExpectRefused(wire_.TryOpen("model", "w", old), StatusCode::ABORTED,
                Detail::REASON_SESSION_FENCED);
  header.set_session_id(std::string(32, 'a'));
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::NOT_FOUND, Detail::REASON_SESSION_UNKNOWN);
  header.set_session_id("");
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::NOT_FOUND, Detail::REASON_SESSION_UNKNOWN);
  header.set_session_id(twin_session_);  // of another model: misaddressed
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::NOT_FOUND, Detail::REASON_SESSION_UNKNOWN);
  ExpectUntouched();
}

TEST_F(ErrorsTest, OtherMicroStepsThanTheCyclesAndUsedQuotas) {
  PushBoth();
  v1::PushHeader header = Next();
  header.set_micro_steps(2);
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::ABORTED, Detail::REASON_MICRO_STEPS);
  // A model whose workers have one push a version.
  v1::ModelSpec spec = Wire::Spec("quota", kElems, 2);
  spec.set_max_pushes_per_worker(1);
  wire_.Make(spec);
  const std::string session = wire_.Open("quota", "w");
  const std::string payload = FloatBytes(Gradient(0));
  ASSERT_TRUE(
      wire_.Push(wire_.Header("quota", session, 1, Gradient(0)), payload)
          .status.ok());
  ExpectRefused(
      wire_.Push(wire_.Header("quota", session, 2, Gradient(0)), payload),
      StatusCode::ABORTED, Detail::REASON_QUOTA);
  EXPECT_THAT(wire_.Describe("quota").pushed_workers(),
              testing::ElementsAre("w"));
  ExpectUntouched();
}

TEST_F(ErrorsTest, ModelsWithoutParameters) {
  ASSERT_TRUE(wire_.Create(Wire::Spec("empty", kElems, 1)).status.ok());
  v1::PushHeader header = Next();
  header.set_model("empty");
  header.set_session_id(wire_.Open("empty", "w"));
  ExpectRefused(wire_.Push(header, FloatBytes(Gradient(0))),
                StatusCode::FAILED_PRECONDITION,
                Detail::REASON_NOT_INITIALIZED);
  grpc::ClientContext context;
  v1::PullRequest request;
  request.set_model("empty");
  request.set_encoding(v1::ENCODING_F32);
  auto reader = wire_.workers().Pull(&context, request);
  v1::PullResponse response;
  EXPECT_FALSE(reader->Read(&response));
  ExpectRefused(EndOf(reader->Finish(), context),
                StatusCode::FAILED_PRECONDITION,
                Detail::REASON_NOT_INITIALIZED);
}

TEST_F(ErrorsTest, ASecondStreamReplacesAnIncompleteFirst) {
  PushBoth();
  grpc::ClientContext context;
  v1::PushResponse response;
  auto half = wire_.workers().Push(&context, &response);
  v1::PushRequest request;
  *request.mutable_header() = Next();
  request.set_chunk(FloatBytes(Gradient(2)).substr(0, 16384));
  ASSERT_TRUE(half->Write(request));
  wire_.AwaitIngest();
  PushBoth();  // the same sequence, whole
  ExpectRefused(EndOf(half->Finish(), context), StatusCode::ABORTED,
                Detail::REASON_SUPERSEDED);
  ExpectUntouched();
}

TEST_F(ErrorsTest, AClientThatGoesInTheMiddleOfAPush) {
  PushBoth();
  {
    Wire leaving(daemon_->tcp());
    grpc::ClientContext context;
    v1::PushResponse response;
    auto half = leaving.workers().Push(&context, &response);
    v1::PushRequest request;
    *request.mutable_header() = Next();
    request.set_chunk(FloatBytes(Gradient(2)).substr(0, 16384));
    ASSERT_TRUE(half->Write(request));
    wire_.AwaitIngest();
    context.TryCancel();
    EXPECT_FALSE(half->Finish().ok());
  }
  ExpectUntouched();
}

TEST_F(ErrorsTest, ASessionTakenOverInTheMiddleOfAPush) {
  PushBoth();
  grpc::ClientContext context;
  v1::PushResponse response;
  auto half = wire_.workers().Push(&context, &response);
  v1::PushRequest request;
  *request.mutable_header() = Next();
  request.set_chunk(FloatBytes(Gradient(2)).substr(0, 16384));
  ASSERT_TRUE(half->Write(request));
  wire_.AwaitIngest();
  session_ = wire_.Open("model", "w");
  twin_session_ = wire_.Open("twin", "w");
  sequence_ = 0;
  ExpectRefused(EndOf(half->Finish(), context), StatusCode::ABORTED,
                Detail::REASON_SESSION_FENCED);
  ExpectUntouched();
}

TEST_F(ErrorsTest, APullAcrossAChangeOfLineage) {
  const v1::Version old = wire_.Describe("model").version();
  ASSERT_TRUE(wire_.Delete("model").status.ok());
  wire_.Make(Wire::Spec("model", kElems, 1));
  const std::string session = wire_.Open("model", "w");
  ASSERT_TRUE(wire_
                  .Push(wire_.Header("model", session, 1, Gradient(1)),
                        FloatBytes(Gradient(1)))
                  .status.ok());
  grpc::ClientContext context;
  v1::PullRequest request;
  request.set_model("model");
  request.set_encoding(v1::ENCODING_F32);
  *request.mutable_have() = old;
  request.mutable_have()->set_number(57);  // there is no such version here
  auto reader = wire_.workers().Pull(&context, request);
  v1::PullResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_FALSE(response.header().unchanged());
  EXPECT_EQ(response.header().payload_bytes(), kElems * 4);
  EXPECT_NE(response.header().version().lineage(), old.lineage());
  while (reader->Read(&response)) {
  }
  EXPECT_TRUE(reader->Finish().ok());

  // The same lineage, but a version to come.
  grpc::ClientContext again;
  *request.mutable_have() = wire_.Describe("model").version();
  request.mutable_have()->set_number(57);
  reader = wire_.workers().Pull(&again, request);
  EXPECT_FALSE(reader->Read(&response));
  ExpectRefused(EndOf(reader->Finish(), again), StatusCode::OUT_OF_RANGE,
                Detail::REASON_FUTURE);
}

TEST_F(ErrorsTest, ADrainingServer) {
  grpc::ClientContext context;
  v1::PushResponse response;
  auto half = wire_.workers().Push(&context, &response);
  v1::PushRequest request;
  *request.mutable_header() = Next();
  request.set_chunk(FloatBytes(Gradient(0)).substr(0, 16384));
  ASSERT_TRUE(half->Write(request));
  wire_.AwaitIngest();
  daemon_->Signal(SIGTERM);
  const Ending ending = EndOf(half->Finish(), context);
  ExpectRefused(ending, StatusCode::UNAVAILABLE, Detail::REASON_DRAINING);
  EXPECT_EQ(daemon_->AwaitExit(), 0);
}

class TightErrorsTest : public ErrorsTest {
 protected:
  TightErrorsTest()
      : ErrorsTest({"--ingest_memory=1MiB", "--admission_timeout=200ms",
                    "--push_idle_timeout=1s", "--max_push_streams=3"}) {}
};

TEST_F(TightErrorsTest, FullBudgetsTooManyStreamsAndSlowSenders) {
  // 200,000 elements: 800 kB, so that two do not fit.
  wire_.Make(Wire::Spec("big", 200'000, 4));
  const std::vector<float> big(200'000, 1.0f);
  const std::string one = wire_.Open("big", "one");
  const std::string two = wire_.Open("big", "two");
  grpc::ClientContext context;
  v1::PushResponse response;
  auto frozen = wire_.workers().Push(&context, &response);
  v1::PushRequest request;
  *request.mutable_header() = wire_.Header("big", one, 1, big);
  request.set_chunk(FloatBytes(big).substr(0, 65536));
  ASSERT_TRUE(frozen->Write(request));
  wire_.AwaitIngest();
  ExpectRefused(wire_.Push(wire_.Header("big", two, 1, big), FloatBytes(big)),
                StatusCode::RESOURCE_EXHAUSTED, Detail::REASON_INGEST_MEMORY);
  ExpectRefused(EndOf(frozen->Finish(), context), StatusCode::DEADLINE_EXCEEDED,
                Detail::REASON_SLOW_PUSH);
  EXPECT_TRUE(wire_.Push(wire_.Header("big", two, 1, big), FloatBytes(big))
                  .status.ok());

  // Three streams that have sent nothing fill the places.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientWriter<v1::PushRequest>>> idle;
  Ending ending;
  do {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    idle.push_back(wire_.workers().Push(contexts.back().get(), &response));
    ending = wire_.Push(Next(), FloatBytes(Gradient(0)).substr(0, 16384));
  } while (ending.status.error_code() != StatusCode::RESOURCE_EXHAUSTED &&
           idle.size() < 100);
  ExpectRefused(ending, StatusCode::RESOURCE_EXHAUSTED, Detail::REASON_LIMIT);
  for (auto& call : contexts) call->TryCancel();
  for (auto& call : idle) call->Finish();
}

TEST_F(TightErrorsTest, AModelWhosePushCannotFitIsRefusedWithTheFlagsName) {
  const Ending ending = wire_.Create(Wire::Spec("huge", 1 << 20, 1));
  ExpectRefused(ending, StatusCode::INVALID_ARGUMENT,
                Detail::REASON_INVALID_SPEC);
  EXPECT_THAT(ending.status.error_message(),
              testing::HasSubstr("--ingest_memory"));
}

}  // namespace
}  // namespace accrue
