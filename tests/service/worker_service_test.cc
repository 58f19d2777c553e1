#include <cmath>
#include <limits>
#include <string>
#include <thread>

#include <gmock/gmock.h>

#include "tests/service/service_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class WorkerServiceTest : public ServiceFixture {
 protected:
  void SetUp() override {
    version_ = CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
    session_ = OpenSession("m", "w");
  }

  v1::PushHeader Header(int64_t sequence) const {
    return HeaderFor("m", session_, sequence, version_, 3);
  }

  // Pushes and describes the answer.
  std::string PushAndDescribe(const v1::PushHeader& header,
                              const std::string& payload) {
    grpc::ClientContext context;
    v1::PushResponse response;
    const grpc::Status status = Push(&context, header, payload, &response);
    return Describe(status, context);
  }

  // Sends these messages as they are.
  std::string SendAndDescribe(const std::vector<v1::PushRequest>& messages) {
    grpc::ClientContext context;
    v1::PushResponse response;
    auto writer = workers_->Push(&context, &response);
    for (const v1::PushRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    return Describe(status, context);
  }

  v1::Version version_;
  std::string session_;
};

TEST_F(WorkerServiceTest, AStubPushesInMessagesOfManySizes) {
  constexpr int64_t kElems = 10'000;
  const v1::Version version = CreateInitialized(
      PlainSpec("large", kElems), std::vector<float>(kElems, 3.0F));
  const std::string session = OpenSession("large", "w");
  const std::string payload = FloatBytes(std::vector<float>(kElems, 0.5F));
  int64_t sequence = 0;
  for (const size_t chunk : {16'384, 16'385, 39'999, 40'000, 100'000}) {
    grpc::ClientContext context;
    v1::PushHeader header =
        HeaderFor("large", session, ++sequence, version, kElems);
    header.mutable_version()->set_number(sequence - 1);
    v1::PushResponse response;
    const grpc::Status status =
        Push(&context, header, payload, &response, chunk);
    ASSERT_TRUE(status.ok()) << Describe(status, context);
    EXPECT_EQ(response.folded_pushes(), sequence);
    EXPECT_EQ(response.version().number(), sequence);
    EXPECT_EQ(response.version().lineage(), version.lineage());
    EXPECT_TRUE(response.published());
    EXPECT_FALSE(response.duplicate());
    ASSERT_EQ(response.groups_size(), 1);
    EXPECT_EQ(response.groups(0).updates(), sequence);
  }
  v1::PullRequest pull;
  pull.set_model("large");
  pull.set_encoding(v1::ENCODING_F32);
  EXPECT_EQ(Floats(Pull(pull).bytes), std::vector<float>(kElems, 0.5F));
}

TEST_F(WorkerServiceTest, TheHeaderMayComeAlone) {
  v1::PushRequest first, second;
  *first.mutable_header() = Header(1);
  second.set_chunk(FloatBytes({1, 1, 1}));
  EXPECT_EQ(SendAndDescribe({first, second}), "OK");
}

TEST_F(WorkerServiceTest, TheSameSequenceIsFoldedOnce) {
  for (const bool duplicate : {false, true}) {
    grpc::ClientContext context;
    v1::PushResponse response;
    const grpc::Status status =
        Push(&context, Header(1), FloatBytes({1, 1, 1}), &response);
    ASSERT_TRUE(status.ok()) << Describe(status, context);
    EXPECT_EQ(response.duplicate(), duplicate);
    EXPECT_EQ(response.folded_pushes(), 1);
    EXPECT_EQ(response.version().number(), 1);
  }
  EXPECT_THAT(PushAndDescribe(Header(1), FloatBytes({1, 1, 2})),
              StartsWith("INVALID_ARGUMENT SEQUENCE_REUSED"));
}

TEST_F(WorkerServiceTest, AStreamMustBeginWithItsHeader) {
  v1::PushRequest chunk;
  chunk.set_chunk(FloatBytes({1, 1, 1}));
  EXPECT_THAT(SendAndDescribe({chunk}),
              StartsWith("INVALID_ARGUMENT UNSPECIFIED: no header"));
  EXPECT_THAT(SendAndDescribe({v1::PushRequest()}),
              StartsWith("INVALID_ARGUMENT UNSPECIFIED: no header"));
}

TEST_F(WorkerServiceTest, AStreamHasOneHeader) {
  v1::PushRequest header;
  *header.mutable_header() = Header(1);
  EXPECT_THAT(
      SendAndDescribe({header, header}),
      StartsWith("INVALID_ARGUMENT UNSPECIFIED: a header in a later message"));
}

TEST_F(WorkerServiceTest, RefusedPushesChangeNothingAndUseUpNoSequence) {
  const std::string good = FloatBytes({1, 1, 1});
  v1::PushHeader header = Header(1);
  header.set_encoding(v1::ENCODING_UNSPECIFIED);
  EXPECT_THAT(PushAndDescribe(header, good),
              HasSubstr("encoding: ENCODING_UNSPECIFIED"));
  header = Header(1);
  header.clear_version();
  EXPECT_THAT(PushAndDescribe(header, good), HasSubstr("version: unset"));
  header = Header(1);
  header.set_payload_bytes(8);
  EXPECT_THAT(PushAndDescribe(header, good.substr(0, 8)),
              StartsWith("INVALID_ARGUMENT WRONG_SHAPE"));
  EXPECT_THAT(PushAndDescribe(Header(1), good.substr(0, 8)),
              StartsWith("INVALID_ARGUMENT PARTIAL"));
  EXPECT_THAT(PushAndDescribe(
                  Header(1),
                  FloatBytes({1, std::numeric_limits<float>::quiet_NaN(), 1})),
              StartsWith("INVALID_ARGUMENT NON_FINITE"));
  header = Header(1);
  header.set_checksum(1);
  EXPECT_THAT(PushAndDescribe(header, good),
              StartsWith("INVALID_ARGUMENT CHECKSUM"));
  EXPECT_THAT(PushAndDescribe(Header(2), good),
              StartsWith("OUT_OF_RANGE FUTURE"));
  header = Header(1);
  header.mutable_version()->set_number(1);
  EXPECT_THAT(PushAndDescribe(header, good), StartsWith("OUT_OF_RANGE FUTURE"));
  header = Header(1);
  header.mutable_version()->set_lineage("00000000000000000000000000000000");
  EXPECT_THAT(PushAndDescribe(header, good),
              StartsWith("ABORTED LINEAGE_CHANGED"));
  header = Header(1);
  header.set_session_id("00000000000000000000000000000000");
  EXPECT_THAT(PushAndDescribe(header, good),
              StartsWith("NOT_FOUND SESSION_UNKNOWN"));
  header = Header(1);
  header.set_model("absent");
  EXPECT_THAT(PushAndDescribe(header, good),
              StartsWith("NOT_FOUND MODEL_UNKNOWN"));
  header = Header(1);
  header.set_micro_steps(2);
  EXPECT_THAT(PushAndDescribe(header, good), StartsWith("INVALID_ARGUMENT"));

  EXPECT_EQ(PushAndDescribe(Header(1), good), "OK");
  v1::PullRequest pull;
  pull.set_model("m");
  pull.set_encoding(v1::ENCODING_F32);
  EXPECT_THAT(Floats(Pull(pull).bytes), ElementsAre(0, 1, 2));
}

TEST_F(WorkerServiceTest, AStaleErrorSaysWhereTheModelIs) {
  const std::string payload = FloatBytes({1, 1, 1});
  ASSERT_EQ(PushAndDescribe(Header(1), payload), "OK");
  grpc::ClientContext context;
  v1::PushResponse response;
  const grpc::Status status = Push(&context, Header(2), payload, &response);
  EXPECT_THAT(Describe(status, context), StartsWith("ABORTED STALE"));
  const v1::ErrorDetail detail = DetailOf(context);
  EXPECT_EQ(detail.current_version(), 1);
  EXPECT_EQ(detail.lineage(), version_.lineage());
  EXPECT_EQ(detail.subject(), "m");
}

TEST_F(WorkerServiceTest, EveryErrorAboutAModelSaysWhereItIs) {
  const std::string payload = FloatBytes({1, 1, 1});
  ASSERT_EQ(PushAndDescribe(Header(1), payload), "OK");
  const auto expect_version = [&](const grpc::Status& status,
                                  const grpc::ClientContext& context,
                                  const std::string& reason) {
    EXPECT_THAT(Describe(status, context), HasSubstr(" " + reason + ": "));
    const v1::ErrorDetail detail = DetailOf(context);
    EXPECT_EQ(detail.current_version(), 1) << reason;
    EXPECT_EQ(detail.lineage(), version_.lineage()) << reason;
  };
  const auto expect_refused = [&](const v1::PushHeader& header,
                                  const std::string& bytes,
                                  const std::string& reason) {
    grpc::ClientContext context;
    v1::PushResponse response;
    const grpc::Status status = Push(&context, header, bytes, &response);
    expect_version(status, context, reason);
  };
  v1::PushHeader next = Header(2);
  next.mutable_version()->set_number(1);
  expect_refused(next, payload.substr(0, 8), "PARTIAL");
  expect_refused(next, payload + "1234", "WRONG_SHAPE");
  v1::PushHeader unknown = next;
  unknown.set_session_id("00000000000000000000000000000000");
  expect_refused(unknown, payload, "SESSION_UNKNOWN");
  OpenSession("m", "w");
  expect_refused(next, payload, "SESSION_FENCED");

  v1::OpenSessionRequest resume;
  resume.set_model("m");
  resume.set_worker("w");
  resume.set_session_id(session_);
  v1::OpenSessionResponse opened;
  grpc::ClientContext open_context, pull_context;
  grpc::Status status = workers_->OpenSession(&open_context, resume, &opened);
  expect_version(status, open_context, "SESSION_FENCED");

  v1::PullRequest pull;
  pull.set_model("m");
  pull.set_encoding(v1::ENCODING_F32);
  pull.add_tensors("absent");
  v1::PullResponse pulled;
  auto reader = workers_->Pull(&pull_context, pull);
  EXPECT_FALSE(reader->Read(&pulled));
  status = reader->Finish();
  expect_version(status, pull_context, "WRONG_SHAPE");
}

// gRPC reports the end of a stream and its loss alike: only a call that was not
// cancelled may be folded.
TEST_F(WorkerServiceTest, APayloadWhoseStreamWasCutOffIsNotFolded) {
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    v1::PushResponse response;
    auto writer = workers_->Push(&context, &response);
    v1::PushRequest message;
    *message.mutable_header() = Header(1);
    message.set_chunk(FloatBytes({1, 1, 1}));
    ASSERT_TRUE(writer->Write(message));
    // Memory is reserved by the message that has the whole payload.
    v1::GetServerInfoResponse info;
    do {
      grpc::ClientContext info_context;
      ASSERT_TRUE(
          info_->GetServerInfo(&info_context, v1::GetServerInfoRequest(), &info)
              .ok());
    } while (info.ingest_reserved_bytes() == 0);
    context.TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
    while (server_->live_call_count() > 0) std::this_thread::yield();
  }
  v1::GetModelRequest request;
  request.set_model("m");
  v1::GetModelResponse described;
  grpc::ClientContext context;
  ASSERT_TRUE(models_->GetModel(&context, request, &described).ok());
  EXPECT_EQ(described.model().folded_pushes(), 0);
  // The sequence is free for another payload.
  EXPECT_EQ(PushAndDescribe(Header(1), FloatBytes({2, 2, 2})), "OK");
}

TEST_F(WorkerServiceTest, ALargerMessageThanTheLimitIsRefusedByGrpc) {
  v1::PushRequest message;
  *message.mutable_header() = Header(1);
  message.set_chunk(std::string(5 << 20, 'x'));
  EXPECT_THAT(SendAndDescribe({message}), StartsWith("RESOURCE_EXHAUSTED"));
}

TEST_F(WorkerServiceTest, ResumingASessionTellsItsLastPush) {
  ASSERT_EQ(PushAndDescribe(Header(1), FloatBytes({1, 1, 1})), "OK");
  v1::OpenSessionRequest request;
  request.set_model("m");
  request.set_worker("w");
  request.set_session_id(session_);
  v1::OpenSessionResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(workers_->OpenSession(&context, request, &response).ok());
  EXPECT_EQ(response.session_id(), session_);
  EXPECT_EQ(response.last_sequence(), 1);
  EXPECT_EQ(response.last_response().version().number(), 1);
  EXPECT_EQ(response.version().number(), 1);
}

TEST_F(WorkerServiceTest, AnOpeningThatComesAgainGetsTheSameSession) {
  const auto open = [&](const std::string& opening) {
    v1::OpenSessionRequest request;
    request.set_model("m");
    request.set_worker("w");
    request.set_opening(opening);
    v1::OpenSessionResponse response;
    grpc::ClientContext context;
    const auto status = workers_->OpenSession(&context, request, &response);
    return status.ok() ? response.session_id() : Describe(status, context);
  };
  session_ = open("ours");
  ASSERT_EQ(PushAndDescribe(Header(1), FloatBytes({1, 1, 1})), "OK");
  EXPECT_EQ(open("ours"), session_);
  v1::PushHeader second = Header(2);
  second.mutable_version()->set_number(1);
  EXPECT_EQ(PushAndDescribe(second, FloatBytes({1, 1, 1})), "OK");
  EXPECT_THAT(open(std::string(65, 'o')),
              AllOf(StartsWith("INVALID_ARGUMENT"), HasSubstr("65 bytes")));
  EXPECT_NE(open("another's"), session_);
  EXPECT_THAT(PushAndDescribe(Header(3), FloatBytes({1, 1, 1})),
              StartsWith("ABORTED SESSION_FENCED"));
}

TEST_F(WorkerServiceTest, AClosedSessionIsUnknownAndClosingAgainIsNoError) {
  v1::CloseSessionRequest request;
  request.set_model("m");
  request.set_session_id(session_);
  for (int i = 0; i < 2; ++i) {
    v1::CloseSessionResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(workers_->CloseSession(&context, request, &response).ok());
  }
  EXPECT_THAT(PushAndDescribe(Header(1), FloatBytes({1, 1, 1})),
              StartsWith("NOT_FOUND SESSION_UNKNOWN"));
}

TEST_F(WorkerServiceTest, AWatcherHearsOfEachVersionAndOfTheEnd) {
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_model("m");
  auto reader = workers_->Watch(&context, request);
  v1::WatchResponse notice;
  ASSERT_TRUE(reader->Read(&notice));
  EXPECT_EQ(notice.version().number(), 0);
  EXPECT_EQ(notice.version().lineage(), version_.lineage());
  v1::PushHeader header = Header(1);
  header.set_loss(0.125);
  ASSERT_EQ(PushAndDescribe(header, FloatBytes({1, 1, 1})), "OK");
  ASSERT_TRUE(reader->Read(&notice));
  EXPECT_EQ(notice.version().number(), 1);
  EXPECT_THAT(notice.changed_groups(), ElementsAre("all"));
  EXPECT_EQ(notice.changed_bytes(), 12);
  EXPECT_EQ(notice.folded_pushes(), 1);
  EXPECT_EQ(notice.loss(), 0.125);
  v1::DeleteModelRequest deletion;
  deletion.set_model("m");
  v1::DeleteModelResponse deleted;
  grpc::ClientContext delete_context;
  ASSERT_TRUE(models_->DeleteModel(&delete_context, deletion, &deleted).ok());
  EXPECT_FALSE(reader->Read(&notice));
  const grpc::Status status = reader->Finish();
  EXPECT_THAT(Describe(status, context), StartsWith("NOT_FOUND MODEL_UNKNOWN"));
}

TEST_F(WorkerServiceTest, AWatcherMayLeave) {
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_model("m");
  auto reader = workers_->Watch(&context, request);
  v1::WatchResponse notice;
  ASSERT_TRUE(reader->Read(&notice));
  context.TryCancel();
  EXPECT_FALSE(reader->Read(&notice));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

class OneSessionTest : public ServiceFixture {
 protected:
  static ServerOptions OneSession() {
    ServerOptions options = Options();
    options.max_sessions = 1;
    return options;
  }
  OneSessionTest() : ServiceFixture(OneSession()) {}
};

TEST_F(OneSessionTest, ASessionTooManyIsRefusedWithTheFlagsName) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  OpenSession("m", "a");
  v1::OpenSessionRequest request;
  request.set_model("m");
  request.set_worker("b");
  v1::OpenSessionResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      workers_->OpenSession(&context, request, &response);
  EXPECT_THAT(Describe(status, context),
              StartsWith("RESOURCE_EXHAUSTED LIMIT"));
  EXPECT_EQ(DetailOf(context).subject(), "--max_sessions");
  OpenSession("m", "a");  // takes its own place
}

}  // namespace
}  // namespace accrue
