// The audit's lines, and limits on what a peer may take.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/any_call.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

int64_t CountOf(const std::string& text, const std::string& part) {
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

TEST(AuditTest, CallsThatChangeAModelAreToldAndOthersAreNot) {
  const auto daemon = Daemon::Start();
  Wire wire(daemon->uds());
  wire.Make(Wire::Spec("m", 2, 1));
  wire.EndCycle("m");
  wire.Describe("m");
  wire.Open("m", "w");
  wire.Parameters("m");
  wire.Delete("m");
  wire.Delete("m");
  const std::string log = daemon->Log();
  const std::string start =
      absl::StrCat("info audit caller=\"anonymous\" peer=unix:uid=", getuid(),
                   " method=/accrue.v1.ModelService/");
  for (const char* line :
       {"CreateModel model=\"m\" code=OK",
        "InitializeModel model=\"m\" code=OK", "EndCycle model=\"m\" code=OK",
        "DeleteModel model=\"m\" code=OK",
        "DeleteModel model=\"m\" code=NOT_FOUND"}) {
    EXPECT_EQ(CountOf(log, start + line), 1) << line;
  }
  EXPECT_EQ(CountOf(log, " audit "), 5) << log;
}

TEST(AuditTest, ALogThatShowsErrorsAloneKeepsIt) {
  for (const char* level : {"error", "off"}) {
    const auto daemon = Daemon::Start({absl::StrCat("--log_level=", level)});
    Wire wire(daemon->uds());
    wire.Delete("m");
    const std::string log = daemon->Log();
    EXPECT_THAT(log, HasSubstr("DeleteModel model=\"m\" code=NOT_FOUND\n"));
    EXPECT_EQ(CountOf(log, "\n"), 1) << log;
  }
}

TEST(AuditTest, ALineNamesTheTokenAndFitsIntoJson) {
  const Certificates files;
  const std::string tokens = files.Write(
      "tokens",
      "- {name: 'o\"ps', token: the-token-of-ops, role: admin}\n"
      "- {name: reader, token: the-token-of-a-reader, role: pull}\n");
  const auto daemon = Daemon::Start({"--token_file=" + tokens, "--log_json"});
  const auto channel =
      grpc::CreateChannel(daemon->tcp(), grpc::InsecureChannelCredentials());
  v1::DeleteModelRequest request;
  request.set_model("no\nsuch");
  const std::string method = "/accrue.v1.ModelService/DeleteModel";
  for (const char* token : {"the-token-of-ops", "the-token-of-a-reader"}) {
    CallAny(channel, method, request.SerializeAsString(), Bearer(token));
  }
  CallAny(channel, method, request.SerializeAsString(), {});
  const std::string log = daemon->Log();
  EXPECT_THAT(log, HasSubstr(R"(audit caller=\"o\\\"ps\" peer=127.0.0.1:)"));
  EXPECT_THAT(log, HasSubstr(R"(model=\"no\\nsuch\" code=NOT_FOUND)"));
  EXPECT_THAT(log, HasSubstr(R"(audit caller=\"reader\" peer=127.0.0.1:)"));
  EXPECT_THAT(log, HasSubstr("code=PERMISSION_DENIED"));
  EXPECT_THAT(log, HasSubstr(R"(audit caller=\"anonymous\")"));
  EXPECT_THAT(log, HasSubstr("code=UNAUTHENTICATED"));
}

TEST(AuditTest, OfManyRefusedCallsAFewASecondAreTold) {
  const Certificates files;
  const std::string tokens = files.Write(
      "tokens", "- {name: a, token: the-token-of-one, role: admin}");
  const auto daemon = Daemon::Start({"--token_file=" + tokens});
  const auto channel =
      grpc::CreateChannel(daemon->tcp(), grpc::InsecureChannelCredentials());
  const absl::Time start = absl::Now();
  constexpr int64_t kCalls = 300;
  for (int64_t i = 0; i < kCalls; ++i) {
    CallAny(channel, "/accrue.v1.ModelService/ListModels", "", {});
  }
  const int64_t seconds = absl::ToInt64Seconds(absl::Now() - start) + 1;
  const int64_t told = CountOf(daemon->Log(), "code=UNAUTHENTICATED");
  EXPECT_GE(told, std::min<int64_t>(kCalls, 10));
  EXPECT_LE(told, 10 * (seconds + 1));
}

TEST(AuditTest, ACertificatesSubjectIsTheCaller) {
  Certificates files;
  files.MakeCa("ca");
  files.Make("daemon", "ca");
  files.Make("worker", "ca");
  const auto daemon = Daemon::Start({"--tls_cert=" + files.Cert("daemon"),
                                     "--tls_key=" + files.Key("daemon"),
                                     "--tls_client_ca=" + files.Cert("ca")});
  const auto channel = grpc::CreateChannel(
      daemon->tcp(), grpc::SslCredentials(
                         {.pem_root_certs = files.Read(files.Cert("ca")),
                          .pem_private_key = files.Read(files.Key("worker")),
                          .pem_cert_chain = files.Read(files.Cert("worker"))}));
  CallAny(channel, "/accrue.v1.ModelService/DeleteModel", "", {});
  EXPECT_THAT(
      daemon->Log(),
      testing::ContainsRegex("audit caller=\"[^\"]*CN=worker[^\"]*\" "
                             "peer=127.0.0.1:[0-9]+ method=.* code=NOT_FOUND"));
}

class StreamsTest : public testing::Test {
 protected:
  struct Watch {
    Watch(Wire& wire, const std::string& model) {
      v1::WatchRequest request;
      request.set_model(model);
      call = wire.workers().Watch(&context, request);
      v1::WatchResponse response;
      taken = call->Read(&response);
    }
    // Leaves, unless it has ended already.
    Ending End() {
      if (taken) context.TryCancel();
      return EndOf(call->Finish(), context);
    }

    BoundedContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchResponse>> call;
    bool taken = false;
  };

  StreamsTest()
      : daemon_(Daemon::Start({"--max_streams_per_peer=2"})),
        wire_(daemon_->tcp()),
        other_connection_(daemon_->tcp()),
        other_peer_(daemon_->uds()) {
    // By the other peer: an initialization is a stream, and counts until the
    // daemon is done with it, a moment after its answer.
    other_peer_.Make(Wire::Spec("m", 2, 1));
  }

  std::unique_ptr<Daemon> daemon_;
  Wire wire_, other_connection_, other_peer_;
};

TEST_F(StreamsTest, APeerHasNoMoreThanItsShare) {
  Watch first(wire_, "m"), second(other_connection_, "m");
  EXPECT_TRUE(first.taken);
  EXPECT_TRUE(second.taken);
  Watch third(wire_, "m");
  EXPECT_FALSE(third.taken);
  const Ending ending = third.End();
  EXPECT_EQ(ending.status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ending.detail.reason(), v1::ErrorDetail::REASON_LIMIT);
  EXPECT_EQ(ending.detail.retry_after().seconds(), 1);
  const std::string session = wire_.Open("m", "w");  // no stream
  const std::string local = other_peer_.Open("m", "x");
  const std::vector<float> gradient = {1, 2};
  EXPECT_EQ(
      other_connection_
          .Push(wire_.Header("m", session, 1, gradient), FloatBytes(gradient))
          .status.error_code(),
      StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(other_peer_
                  .Push(other_peer_.Header("m", local, 1, gradient),
                        FloatBytes(gradient))
                  .status.ok());
  // A stream that has ended makes room, once the daemon knows.
  first.End();
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  StatusCode code = StatusCode::RESOURCE_EXHAUSTED;
  while (code == StatusCode::RESOURCE_EXHAUSTED && absl::Now() < deadline) {
    code = wire_
               .Push(other_peer_.Header("m", session, 1, gradient),
                     FloatBytes(gradient))
               .status.error_code();
  }
  EXPECT_EQ(code, StatusCode::OK);
}

TEST(SizeTest, MetadataIsBounded) {
  const auto daemon = Daemon::Start();
  const auto channel =
      grpc::CreateChannel(daemon->tcp(), grpc::InsecureChannelCredentials());
  constexpr char kMethod[] = "/accrue.v1.ServerService/GetServerInfo";
  EXPECT_TRUE(CallAny(channel, kMethod, "", {{"key", std::string(4096, 'x')}})
                  .status.ok());
  EXPECT_EQ(CallAny(channel, kMethod, "", {{"key", std::string(32768, 'x')}})
                .status.error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
  // gRPC may have closed that connection.
  Wire(daemon->tcp()).Make(Wire::Spec("m", 2, 1));
}

TEST(SizeTest, WhatIsCompressedIsNotTaken) {
  const auto daemon = Daemon::Start();
  const auto channel =
      grpc::CreateChannel(daemon->tcp(), grpc::InsecureChannelCredentials());
  const auto stub = v1::ModelService::NewStub(channel);
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    BoundedContext context;
    context.set_compression_algorithm(algorithm);
    v1::GetModelRequest request;
    request.set_model(std::string(1 << 20, 'x'));
    v1::GetModelResponse response;
    EXPECT_EQ(stub->GetModel(&context, request, &response).error_code(),
              StatusCode::UNIMPLEMENTED);
  }
}

}  // namespace
}  // namespace accrue
