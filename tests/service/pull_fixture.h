// PullCallTest: a real server, pulls of its models and updates between them.
#ifndef ACCRUE_TESTS_SERVICE_PULL_FIXTURE_H_
#define ACCRUE_TESTS_SERVICE_PULL_FIXTURE_H_

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "tests/service/service_fixture.h"

namespace accrue {

class PullCallTest : public ServiceFixture {
 protected:
  PullCallTest() = default;
  explicit PullCallTest(const ServerOptions& options)
      : ServiceFixture(options) {}

  static v1::PullRequest Request(const std::string& model = "m") {
    v1::PullRequest request;
    request.set_model(model);
    request.set_encoding(v1::ENCODING_F32);
    return request;
  }

  // One push that publishes.
  void Update(const v1::Version& version, int64_t elems) {
    if (session_.empty()) session_ = OpenSession("m", "w");
    grpc::ClientContext context;
    v1::PushResponse response;
    const grpc::Status status =
        Push(&context, HeaderFor("m", session_, ++sequence_, version, elems),
             std::string(static_cast<size_t>(elems) * 4, '\0'), &response);
    EXPECT_TRUE(status.ok()) << Describe(status, context);
    EXPECT_TRUE(response.published());
  }

  v1::Model Described() {
    v1::GetModelRequest request;
    request.set_model("m");
    v1::GetModelResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(models_->GetModel(&context, request, &response).ok());
    return response.model();
  }

  std::string session_;
  int64_t sequence_ = 0;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_PULL_FIXTURE_H_
