// What proto/accrue/v1/error.proto says of pushes and sessions, against the
// real daemon, over every kind of state. After every refusal the model must go
// on as if nothing had been sent.
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/twin.h"
#include "tests/e2e/twin_fixture.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

constexpr int64_t kElems = Twin::kElems;

class ErrorsTest : public TwinTest {
 protected:
  void SetUp() override {
    TwinTest::SetUp();
    if (wire_.has_value()) twin_.emplace(*wire_, GetParam());
  }

  v1::PushHeader Next() { return twin_->Next(); }
  Ending Push(const v1::PushHeader& header, const std::string& payload) {
    return wire_->Push(header, payload);
  }
  // Of the next push, whose daemon has its memory.
  std::unique_ptr<Wire::HalfPush> Half(const v1::PushHeader& header) {
    auto half = std::make_unique<Wire::HalfPush>(*wire_, header,
                                                 Twin::Payload(2), 16 << 10);
    wire_->AwaitIngest();
    return half;
  }

  std::optional<Twin> twin_;
  const std::string payload_ = Twin::Payload(0);
};

INSTANTIATE_TEST_SUITE_P(States, ErrorsTest, testing::ValuesIn(Twin::States()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ErrorsTest, RequestsThatContradictThemselvesOrTheModel) {
  struct Row {
    const char* name;
    std::function<void(v1::PushHeader&)> spoil;
    Detail::Reason reason;
  };
  const std::vector<Row> rows = {
      {"wrong shape", [](auto& h) { h.set_payload_bytes(kElems * 4 - 4); },
       Detail::REASON_WRONG_SHAPE},
      {"more than the model",
       [](auto& h) { h.set_payload_bytes(kElems * 4 + 4); },
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
    ExpectRefused(Push(header, payload_), StatusCode::INVALID_ARGUMENT,
                  row.reason);
  }
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, PartialPushesAndChunksThatAreTooSmall) {
  ExpectRefused(Push(Next(), payload_.substr(0, payload_.size() - 1)),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_PARTIAL);
  ExpectRefused(Push(Next(), ""), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_PARTIAL);
  ExpectRefused(wire_->Push(Next(), payload_, nullptr, 1000),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_WRONG_SHAPE);
  v1::PushResponse answer;
  EXPECT_TRUE(wire_
                  ->Push(twin_->last_header(), twin_->last_payload(), &answer,
                         Twin::kChunk)
                  .status.ok());  // a duplicate, in the smallest chunks
  EXPECT_TRUE(answer.duplicate());
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, OversizedPushes) {
  const std::string more = payload_ + "1234";
  // At once, and in the last of several chunks.
  for (const size_t chunk_bytes : {more.size(), Twin::kChunk}) {
    ExpectRefused(wire_->Push(Next(), more, nullptr, chunk_bytes),
                  StatusCode::INVALID_ARGUMENT, Detail::REASON_WRONG_SHAPE);
  }
  // One chunk too many, after all the bytes.
  Wire::HalfPush whole(*wire_, Next(), payload_ + std::string(Twin::kChunk, 0),
                       payload_.size());
  ExpectRefused(whole.Complete(), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_WRONG_SHAPE);
  // What both the header and the stream say, and the model does not.
  v1::PushHeader header = Next();
  header.set_payload_bytes(static_cast<int64_t>(more.size()));
  ExpectRefused(Push(header, more), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_WRONG_SHAPE);
  // A message that gRPC refuses by itself.
  const std::string message((4 << 20) + (64 << 10) + 1, '\0');
  EXPECT_EQ(
      wire_->Push(Next(), message, nullptr, message.size()).status.error_code(),
      StatusCode::RESOURCE_EXHAUSTED);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, AStreamWithoutHeaderAndOneWithTwo) {
  BoundedContext context;
  v1::PushResponse response;
  auto writer = wire_->workers().Push(&context, &response);
  v1::PushRequest request;
  request.set_chunk("abcd");
  writer->Write(request);
  writer->WritesDone();
  ExpectRefused(EndOf(writer->Finish(), context), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_UNSPECIFIED);

  BoundedContext again;
  writer = wire_->workers().Push(&again, &response);
  request.Clear();
  *request.mutable_header() = Next();
  writer->Write(request);
  writer->Write(request);
  writer->WritesDone();
  ExpectRefused(EndOf(writer->Finish(), again), StatusCode::INVALID_ARGUMENT,
                Detail::REASON_UNSPECIFIED);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, GradientsThatAreNotFiniteOrCannotBeSquared) {
  const float inf = std::numeric_limits<float>::infinity();
  for (float bad : {std::nanf(""), inf, -inf, 0x1p64f}) {
    for (const int64_t where : {int64_t{0}, kElems / 2, kElems - 1}) {
      std::vector<float> gradient = Twin::Gradient(0);
      gradient[static_cast<size_t>(where)] = bad;
      ExpectRefused(Push(Next(), FloatBytes(gradient)),
                    StatusCode::INVALID_ARGUMENT, Detail::REASON_NON_FINITE);
    }
  }
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, UnknownModelsAndTakenNames) {
  v1::PushHeader header = Next();
  header.set_model("nobody");
  ExpectRefused(Push(header, payload_), StatusCode::NOT_FOUND,
                Detail::REASON_MODEL_UNKNOWN);
  ExpectRefused(wire_->TryOpen("nobody", "w", ""), StatusCode::NOT_FOUND,
                Detail::REASON_MODEL_UNKNOWN);
  ExpectRefused(wire_->Delete("nobody"), StatusCode::NOT_FOUND,
                Detail::REASON_MODEL_UNKNOWN);
  ExpectRefused(wire_->Create(Wire::Spec(Twin::kModel, kElems, 2)),
                StatusCode::ALREADY_EXISTS, Detail::REASON_MODEL_EXISTS);
  ExpectRefused(wire_->Initialize(Twin::kModel), StatusCode::ALREADY_EXISTS,
                Detail::REASON_ALREADY_INITIALIZED);
  ExpectRefused(wire_->Create(Wire::Spec("../model", kElems, 2)),
                StatusCode::INVALID_ARGUMENT, Detail::REASON_INVALID_SPEC);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, StaleAndFuturePushesAndOtherLineages) {
  v1::PushHeader stale = Next();
  twin_->PushToUpdate();
  twin_->Push();  // and into the next cycle
  const v1::Version now = wire_->Describe(Twin::kModel).version();
  stale.set_sequence(twin_->sequence() + 1);
  const Ending ending = Push(stale, payload_);
  ExpectRefused(ending, StatusCode::ABORTED, Detail::REASON_STALE);
  EXPECT_EQ(ending.detail.current_version(), now.number());
  EXPECT_EQ(ending.detail.lineage(), now.lineage());
  EXPECT_EQ(ending.detail.subject(), Twin::kModel);
  v1::PushHeader future = Next();
  future.mutable_version()->set_number(now.number() + 1);
  ExpectRefused(Push(future, payload_), StatusCode::OUT_OF_RANGE,
                Detail::REASON_FUTURE);
  v1::PushHeader other = Next();
  other.mutable_version()->set_lineage(std::string(32, '0'));
  ExpectRefused(Push(other, payload_), StatusCode::ABORTED,
                Detail::REASON_LINEAGE_CHANGED);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, AHalfReceivedPushThatBecomesStaleEndsAtOnce) {
  v1::PushHeader header = Next();
  header.set_session_id(twin_->Open("slow"));
  header.set_sequence(1);
  const auto half = Half(header);
  twin_->PushToUpdate();
  ExpectRefused(half->Finish(), StatusCode::ABORTED, Detail::REASON_STALE);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, DuplicatedReorderedAndReusedSequences) {
  const v1::PushHeader first = twin_->last_header();
  const std::string first_payload = twin_->last_payload();
  // Twice, with another payload, and again: it is still the same push.
  for (int i = 0; i < 3; ++i) {
    v1::PushResponse answer;
    ASSERT_TRUE(wire_->Push(first, first_payload, &answer).status.ok());
    EXPECT_TRUE(answer.duplicate());
    answer.set_duplicate(false);
    EXPECT_EQ(answer.DebugString(), twin_->last_response().DebugString());
    ExpectRefused(Push(first, payload_), StatusCode::INVALID_ARGUMENT,
                  Detail::REASON_SEQUENCE_REUSED);
  }
  v1::PushHeader skipped = Next();
  skipped.set_sequence(twin_->sequence() + 2);
  ExpectRefused(Push(skipped, payload_), StatusCode::OUT_OF_RANGE,
                Detail::REASON_FUTURE);
  twin_->Push();
  ExpectRefused(Push(first, first_payload), StatusCode::FAILED_PRECONDITION,
                Detail::REASON_SEQUENCE_OLD);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, ADuplicateOfThePushThatPublished) {
  twin_->PushToUpdate();
  ASSERT_TRUE(twin_->last_response().published());
  // With and without a checksum, which shows a duplicate by its header alone.
  for (const bool resumed : {false, true}) {
    v1::PushResponse answer;
    if (resumed) {
      v1::OpenSessionResponse opened;
      ASSERT_TRUE(wire_->TryOpen(Twin::kModel, "w", twin_->session(), &opened)
                      .status.ok());
      EXPECT_EQ(opened.last_sequence(), twin_->sequence());
      answer = opened.last_response();
    } else {
      ASSERT_TRUE(
          wire_->Push(twin_->last_header(), twin_->last_payload(), &answer)
              .status.ok());
      EXPECT_TRUE(answer.duplicate());
      answer.set_duplicate(false);
    }
    EXPECT_EQ(answer.DebugString(), twin_->last_response().DebugString());
  }
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, FencedAndUnknownSessions) {
  const std::string old = twin_->session();
  twin_->Reopen();
  v1::PushHeader header = Next();
  header.set_session_id(old);
  header.set_sequence(2);
  ExpectRefused(Push(header, payload_), StatusCode::ABORTED,
                Detail::REASON_SESSION_FENCED);
  ExpectRefused(wire_->TryOpen(Twin::kModel, "w", old), StatusCode::ABORTED,
                Detail::REASON_SESSION_FENCED);
  // The last one is of another model: misaddressed.
  for (const std::string& unknown :
       {std::string(32, 'a'), std::string(), twin_->twin_session()}) {
    header.set_session_id(unknown);
    ExpectRefused(Push(header, payload_), StatusCode::NOT_FOUND,
                  Detail::REASON_SESSION_UNKNOWN);
  }
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, OtherMicroStepsThanTheCyclesAndUsedQuotas) {
  v1::PushHeader header = Next();
  header.set_micro_steps(2);
  const Ending ending = Push(header, payload_);
  ExpectRefused(ending, StatusCode::ABORTED, Detail::REASON_MICRO_STEPS);
  EXPECT_EQ(ending.detail.subject(), Twin::kModel);
  // A model whose workers have one push a version.
  v1::ModelSpec spec = GetParam().spec("quota");
  spec.set_max_pushes_per_worker(1);
  wire_->Make(spec);
  const std::string session = wire_->Open("quota", "w");
  const auto push = [&](const std::string& from, int64_t sequence) {
    return Push(wire_->Header("quota", from, sequence, Twin::Gradient(0)),
                payload_);
  };
  ASSERT_TRUE(push(session, 1).status.ok());
  ExpectRefused(push(session, 2), StatusCode::ABORTED, Detail::REASON_QUOTA);
  EXPECT_THAT(wire_->Describe("quota").pushed_workers(),
              testing::ElementsAre("w"));
  EXPECT_EQ(wire_->Describe("quota").folded_pushes(), 1);
  EXPECT_TRUE(push(wire_->Open("quota", "v"), 1).status.ok());
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, ModelsWithoutParameters) {
  ASSERT_TRUE(wire_->Create(GetParam().spec("empty")).status.ok());
  v1::PushHeader header = Next();
  header.set_model("empty");
  header.set_session_id(wire_->Open("empty", "w"));
  header.set_sequence(1);
  ExpectRefused(Push(header, payload_), StatusCode::FAILED_PRECONDITION,
                Detail::REASON_NOT_INITIALIZED);
  BoundedContext context;
  v1::PullRequest request;
  request.set_model("empty");
  request.set_encoding(v1::ENCODING_F32);
  auto reader = wire_->workers().Pull(&context, request);
  v1::PullResponse response;
  EXPECT_FALSE(reader->Read(&response));
  ExpectRefused(EndOf(reader->Finish(), context),
                StatusCode::FAILED_PRECONDITION,
                Detail::REASON_NOT_INITIALIZED);
  ASSERT_TRUE(wire_->Initialize("empty").status.ok());
  *header.mutable_version() = wire_->Describe("empty").version();
  EXPECT_TRUE(Push(header, payload_).status.ok());
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, ASecondStreamReplacesAnIncompleteFirst) {
  const auto half = Half(Next());
  twin_->Push();  // the same sequence, whole
  ExpectRefused(half->Finish(), StatusCode::ABORTED, Detail::REASON_SUPERSEDED);
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, AClientThatGoesInTheMiddleOfAPush) {
  const auto half = Half(Next());
  half->Cancel();
  EXPECT_FALSE(half->Finish().status.ok());
  twin_->ExpectUntouched();
}

TEST_P(ErrorsTest, ASessionTakenOverInTheMiddleOfAPush) {
  const auto half = Half(Next());
  twin_->Reopen();
  ExpectRefused(half->Finish(), StatusCode::ABORTED,
                Detail::REASON_SESSION_FENCED);
  twin_->ExpectUntouched();
}

}  // namespace
}  // namespace accrue
