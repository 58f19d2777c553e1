// Pulls across a change of lineage: whoever reads a model while another of the
// same name takes its place gets one of the two, whole, or is told.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/daemon.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

// More than the sockets and windows between two processes hold.
constexpr int64_t kElems = 4 << 20;

class LineageTest : public ::testing::Test {
 protected:
  LineageTest() : daemon_(Daemon::Start()), wire_(daemon_->tcp()) {
    wire_.Make(Spec());
    Push(1);
    old_ = wire_.Describe("model").version();
    old_bytes_ = wire_.Parameters("model");
  }

  static v1::ModelSpec Spec() { return Wire::Spec("model", kElems, 1); }

  // The first push of a new session.
  void Push(float value) {
    const std::vector<float> gradient(kElems, value);
    const std::string session = wire_.Open("model", "w");
    const Ending ending = wire_.Push(
        wire_.Header("model", session, 1, gradient), FloatBytes(gradient));
    EXPECT_TRUE(ending.status.ok()) << ending.status.error_message();
  }

  // Another model of this name, whose first version differs in every element.
  void Replace() {
    ASSERT_TRUE(wire_.Delete("model").status.ok());
    wire_.Make(Spec());
    Push(2);
    ASSERT_NE(wire_.Describe("model").version().lineage(), old_.lineage());
  }

  // -lr (1 - d) g, at d = 0.
  void ExpectNewParameters(const std::string& bytes) {
    EXPECT_TRUE(bytes == FloatBytes(std::vector<float>(kElems, -1.0f)));
  }

  v1::PullRequest Request() {
    v1::PullRequest request;
    request.set_model("model");
    request.set_encoding(v1::ENCODING_F32);
    return request;
  }

  std::unique_ptr<Daemon> daemon_;
  Wire wire_;
  v1::Version old_;
  std::string old_bytes_;
};

TEST_F(LineageTest, AReaderOfTheOldOneGetsAllOfTheNew) {
  Replace();
  BoundedContext context;
  v1::PullRequest request = Request();
  *request.mutable_have() = old_;  // whose number is there again
  request.mutable_wait()->set_seconds(60);
  auto reader = wire_.workers().Pull(&context, request);
  v1::PullResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_FALSE(response.header().unchanged());
  EXPECT_EQ(response.header().payload_bytes(), kElems * 4);
  EXPECT_NE(response.header().version().lineage(), old_.lineage());
  EXPECT_EQ(response.header().version().number(), old_.number());
  std::string bytes = response.chunk();
  while (reader->Read(&response)) bytes += response.chunk();
  EXPECT_TRUE(reader->Finish().ok());
  ExpectNewParameters(bytes);

  // The same lineage, but a version to come.
  BoundedContext again;
  *request.mutable_have() = wire_.Describe("model").version();
  request.mutable_have()->set_number(57);
  reader = wire_.workers().Pull(&again, request);
  EXPECT_FALSE(reader->Read(&response));
  ExpectRefused(EndOf(reader->Finish(), again), StatusCode::OUT_OF_RANGE,
                Detail::REASON_FUTURE);
  Push(1);
  EXPECT_EQ(wire_.Describe("model").folded_pushes(), 2);
}

TEST_F(LineageTest, AReaderThatWaitsForTheOldOneIsToldOfItsEnd) {
  BoundedContext context;
  v1::PullRequest request = Request();
  *request.mutable_have() = old_;
  request.mutable_wait()->set_seconds(60);
  auto reader = wire_.workers().Pull(&context, request);
  // Its wait has begun, or begins at any moment.
  wire_.Describe("model");
  Replace();
  v1::PullResponse response;
  if (reader->Read(&response)) {
    // It came so late that it found the new one.
    std::string bytes = response.chunk();
    while (reader->Read(&response)) bytes += response.chunk();
    EXPECT_TRUE(reader->Finish().ok());
    ExpectNewParameters(bytes);
  } else if (const Ending ending = EndOf(reader->Finish(), context);
             ending.status.error_code() == StatusCode::FAILED_PRECONDITION) {
    // It came when the new one was made, and had no parameters yet.
    ExpectRefused(ending, StatusCode::FAILED_PRECONDITION,
                  Detail::REASON_NOT_INITIALIZED);
  } else {
    ExpectRefused(ending, StatusCode::NOT_FOUND, Detail::REASON_MODEL_UNKNOWN);
  }
  ExpectNewParameters(wire_.Parameters("model"));
  Push(1);
  EXPECT_EQ(wire_.Describe("model").folded_pushes(), 2);
}

TEST_F(LineageTest, AReaderInTheMiddleOfTheOldOneReadsItToItsEnd) {
  Wire other(daemon_->tcp());
  BoundedContext context;
  auto reader = other.workers().Pull(&context, Request());
  v1::PullResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.header().version().lineage(), old_.lineage());
  std::string bytes = response.chunk();
  ASSERT_LT(bytes.size(), old_bytes_.size());
  Replace();
  ExpectNewParameters(wire_.Parameters("model"));
  while (reader->Read(&response)) bytes += response.chunk();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(bytes == old_bytes_);
  Push(1);
  EXPECT_EQ(wire_.Describe("model").folded_pushes(), 2);
}

}  // namespace
}  // namespace accrue
