// The audit's lines, and limits on what a peer may take.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
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

// HTTP/2, as far as a call takes it.
std::string Frame(char type, char flags, char stream,
                  const std::string& payload) {
  std::string frame("\0\0\0\0\0\0\0\0\0", 9);
  frame[1] = static_cast<char>(payload.size() >> 8);
  frame[2] = static_cast<char>(payload.size());
  frame[3] = type;
  frame[4] = flags;
  frame[8] = stream;
  return frame + payload;
}

// A connection's first bytes, and a whole call on it.
std::string WholeCall(const std::string& method, const std::string& request) {
  std::string fields;
  for (const auto& [name, value] :
       {std::pair<std::string, std::string>(":method", "POST"),
        {":scheme", "http"},
        {":path", method},
        {":authority", "x"},
        {"content-type", "application/grpc"},
        {"te", "trailers"}}) {
    fields += '\0';
    for (const std::string& text : {name, value}) {
      fields += static_cast<char>(text.size());
      fields += text;
    }
  }
  std::string message(5, '\0');
  message[4] = static_cast<char>(request.size());
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0, "") +
         Frame(1, 4, 1, fields) + Frame(0, 1, 1, message + request);
}

TEST(AuditTest, WhoHangsUpAtOnceIsNamedAllTheSame) {
  const auto daemon = Daemon::Start();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(
      std::stoi(daemon->tcp().substr(daemon->tcp().rfind(':') + 1))));
  v1::DeleteModelRequest request;
  request.set_model("m");
  const std::string bytes = WholeCall("/accrue.v1.ModelService/DeleteModel",
                                      request.SerializeAsString());
  // By a reset, which is what makes the kernel forget whose the socket was;
  // often before the daemon has accepted it. Of some such calls gRPC reads
  // nothing; those that it reads are told.
  constexpr int kCalls = 300;
  for (int i = 0; i < kCalls; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)),
              0);
    ASSERT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    // Half of them once gRPC has begun to answer.
    char byte;
    if (i % 2 == 0) {
      ASSERT_EQ(recv(fd, &byte, 1, 0), 1);
    }
    const linger reset{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
  }
  Wire(daemon->tcp()).Delete("the last");
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (CountOf(daemon->Log(), "\"the last\"") == 0 &&
         absl::Now() < deadline) {
  }
  const std::string log = daemon->Log();
  EXPECT_GT(CountOf(log, "model=\"m\""), 0) << log;
  EXPECT_EQ(CountOf(log, " peer="), CountOf(log, " peer=127.0.0.1:")) << log;
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
