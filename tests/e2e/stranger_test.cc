// What a caller can make the daemon hold before anybody has asked who it is,
// and after.

#include <cstdint>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/any_call.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

// As large as a message may be, of empty fields in two bytes each: parsed, it
// takes some fifty times as much.
constexpr int64_t kFields = 2'000'000;

std::string EmptyFields(int number, int64_t count) {
  std::string fields;
  for (int64_t i = 0; i < count; ++i) {
    fields += static_cast<char>(number << 3 | 2);
    fields += '\0';
  }
  return fields;
}

// Of a field that is a message.
std::string Within(int number, const std::string& message) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  size_t size = message.size();
  for (; size >= 0x80; size >>= 7) field += static_cast<char>(size | 0x80);
  field += static_cast<char>(size);
  return field + message;
}

// A spec of so many tensors, that have nothing; and a pull of as many.
std::string Specs() {
  return Within(v1::CreateModelRequest::kSpecFieldNumber,
                EmptyFields(v1::ModelSpec::kTensorsFieldNumber, kFields));
}
std::string Updates() {
  return EmptyFields(v1::UpdateHyperparametersRequest::kUpdatesFieldNumber,
                     kFields);
}
std::string Initializers() {
  return Within(v1::InitializeModelRequest::kHeaderFieldNumber,
                EmptyFields(v1::InitializeModelHeader::kInitializersFieldNumber,
                            kFields));
}
std::string Tensors() {
  return EmptyFields(v1::PullRequest::kTensorsFieldNumber, kFields);
}
// Fields that no message has.
std::string Unknown() { return EmptyFields(15, kFields); }

class StrangerTest : public testing::Test {
 protected:
  StrangerTest()
      : daemon_(Daemon::Start(
            {"--token_file=" +
             files_.Write(
                 "tokens",
                 "- {name: a, token: the-token-of-one, role: admin}")})),
        channel_(grpc::CreateChannel(daemon_->tcp(),
                                     grpc::InsecureChannelCredentials())) {}

  Ending Call(const std::string& method, const std::string& request,
              const Metadata& metadata) {
    return CallAny(channel_, "/accrue.v1." + method, request, metadata);
  }

  const Certificates files_;
  const std::unique_ptr<Daemon> daemon_;
  const std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(StrangerTest, WhatItSendsIsNotParsed) {
  // The bytes themselves, received and put together, several times over.
  constexpr int64_t kMost = int64_t{100} << 20;
  const int64_t before = daemon_->PeakMemoryBytes();
  for (const auto& [method, request] :
       {std::pair("ModelService/CreateModel", Specs()),
        {"ModelService/GetModel", Unknown()},
        {"ModelService/ListModels", Unknown()},
        {"ModelService/InitializeModel", Within(1, Unknown())},
        {"WorkerService/Pull", Tensors()},
        {"WorkerService/Watch", Unknown()},
        {"WorkerService/Push", Within(1, Unknown())},
        {"WorkerService/OpenSession", Unknown()},
        {"ServerService/GetServerInfo", Unknown()}}) {
    EXPECT_EQ(Call(method, request, {}).status.error_code(),
              StatusCode::UNAUTHENTICATED)
        << method;
    EXPECT_LT(daemon_->PeakMemoryBytes() - before, kMost) << method;
  }
}

TEST_F(StrangerTest, WhoIsKnownIsBoundedBeforeItsRequestIsParsed) {
  constexpr int64_t kMost = int64_t{100} << 20;
  const int64_t before = daemon_->PeakMemoryBytes();
  for (const auto& [method, request] :
       {std::pair("ModelService/GetModel", Unknown()),
        {"ModelService/ListModels", Unknown()},
        {"WorkerService/Pull", Tensors()},
        {"WorkerService/Watch", Unknown()}}) {
    const Ending ending = Call(method, request, Bearer("the-token-of-one"));
    EXPECT_EQ(ending.status.error_code(), StatusCode::RESOURCE_EXHAUSTED)
        << method;
    EXPECT_EQ(ending.detail.reason(), v1::ErrorDetail::REASON_LIMIT) << method;
    EXPECT_THAT(ending.status.error_message(), HasSubstr("4000000 bytes"));
  }
  const Ending push = Call("WorkerService/Push", Within(1, Unknown()),
                           Bearer("the-token-of-one"));
  EXPECT_EQ(push.status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(push.status.error_message(), HasSubstr("4000000 bytes"));
  // What may have something for every tensor may fill a message: it is counted.
  for (const auto& [method, request] :
       {std::pair("ModelService/CreateModel", Specs()),
        {"ModelService/CreateModel", Within(1, Unknown())},
        {"ModelService/UpdateHyperparameters", Updates()},
        {"ModelService/InitializeModel", Initializers()}}) {
    const Ending ending = Call(method, request, Bearer("the-token-of-one"));
    EXPECT_EQ(ending.status.error_code(), StatusCode::INVALID_ARGUMENT)
        << method;
    EXPECT_THAT(ending.status.error_message(),
                HasSubstr(": 2000000, at most 100000"));
  }
  EXPECT_LT(daemon_->PeakMemoryBytes() - before, kMost);
}

}  // namespace
}  // namespace accrue
