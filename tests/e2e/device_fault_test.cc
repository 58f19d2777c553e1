// A device that fails, seen from outside: the model is poisoned and refuses
// all, and the other models of the same daemon go on.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/daemon.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;
using testing::HasSubstr;

class DeviceFaultTest : public ::testing::Test {
 protected:
  DeviceFaultTest()
      : daemon_(Daemon::Start({}, kFaultyProgram)), wire_(daemon_->tcp()) {
    wire_.Make(Wire::Spec("faulty", kFaultyElems, 1));
    wire_.Make(Wire::Spec("sound", kFaultyElems + 1, 1));
    faulty_ = wire_.Open("faulty", "w");
    sound_ = wire_.Open("sound", "w");
    for (int64_t i = 1; i <= kGoodPasses; ++i) {
      EXPECT_TRUE(PushFaulty(i).status.ok());
    }
  }

  Ending PushFaulty(int64_t sequence) {
    const std::vector<float> gradient(kFaultyElems, 1.0f);
    return wire_.Push(wire_.Header("faulty", faulty_, sequence, gradient),
                      FloatBytes(gradient));
  }
  // The pass that fails.
  void LoseTheDevice() {
    const Ending ending = PushFaulty(kGoodPasses + 1);
    EXPECT_EQ(ending.status.error_code(), StatusCode::INTERNAL)
        << ending.status.error_message();
    EXPECT_EQ(ending.detail.reason(), Detail::REASON_DEVICE_FAULT);
    EXPECT_EQ(ending.detail.subject(), "faulty");
    EXPECT_EQ(ending.detail.current_version(), kGoodPasses);
  }
  static void ExpectPoisoned(const Ending& ending) {
    EXPECT_EQ(ending.status.error_code(), StatusCode::FAILED_PRECONDITION)
        << ending.status.error_message();
    EXPECT_EQ(ending.detail.reason(), Detail::REASON_POISONED);
    EXPECT_EQ(ending.detail.subject(), "faulty");
  }

  // How it ends.
  Ending Pull(const v1::PullRequest& request) {
    BoundedContext context;
    auto reader = wire_.workers().Pull(&context, request);
    v1::PullResponse response;
    while (reader->Read(&response)) {
    }
    return EndOf(reader->Finish(), context);
  }

  const std::unique_ptr<Daemon> daemon_;
  Wire wire_;
  std::string faulty_, sound_;
};

TEST_F(DeviceFaultTest, APoisonedModelRefusesAllAndTheOthersGoOn) {
  LoseTheDevice();
  ExpectPoisoned(PushFaulty(kGoodPasses + 1));
  ExpectPoisoned(wire_.TryOpen("faulty", "w", faulty_));
  v1::PullRequest pull;
  pull.set_model("faulty");
  pull.set_encoding(v1::ENCODING_F32);
  ExpectPoisoned(Pull(pull));
  {
    BoundedContext context;
    v1::WatchRequest request;
    request.set_model("faulty");
    auto reader = wire_.workers().Watch(&context, request);
    v1::WatchResponse notice;
    while (reader->Read(&notice)) {
    }
    ExpectPoisoned(EndOf(reader->Finish(), context));
  }
  {
    BoundedContext context;
    v1::EndCycleRequest request;
    request.set_model("faulty");
    v1::EndCycleResponse response;
    ExpectPoisoned(
        EndOf(wire_.models().EndCycle(&context, request, &response), context));
  }
  const v1::Model described = wire_.Describe("faulty");
  EXPECT_EQ(described.state(), v1::Model::STATE_POISONED);
  EXPECT_THAT(described.poison_reason(), HasSubstr("the device is lost"));
  EXPECT_EQ(described.folded_pushes(), kGoodPasses);

  const std::vector<float> gradient(kFaultyElems + 1, 1.0f);
  for (int64_t i = 1; i <= kGoodPasses + 2; ++i) {
    EXPECT_TRUE(wire_
                    .Push(wire_.Header("sound", sound_, i, gradient),
                          FloatBytes(gradient))
                    .status.ok());
  }
  EXPECT_EQ(wire_.Describe("sound").folded_pushes(), kGoodPasses + 2);

  // Its name is free for a new one.
  EXPECT_TRUE(wire_.Delete("faulty").status.ok());
  wire_.Make(Wire::Spec("faulty", kFaultyElems, 1));
  faulty_ = wire_.Open("faulty", "w");
  EXPECT_TRUE(PushFaulty(1).status.ok());
}

TEST_F(DeviceFaultTest, WhoeverWaitsForAVersionHearsThatThereIsNone) {
  BoundedContext watch_context, pull_context;
  v1::WatchRequest watch;
  watch.set_model("faulty");
  auto watcher = wire_.workers().Watch(&watch_context, watch);
  v1::WatchResponse notice;
  ASSERT_TRUE(watcher->Read(&notice));
  v1::PullRequest pull;
  pull.set_model("faulty");
  pull.set_encoding(v1::ENCODING_F32);
  *pull.mutable_have() = wire_.Describe("faulty").version();
  pull.mutable_wait()->set_seconds(3600);
  auto reader = wire_.workers().Pull(&pull_context, pull);
  LoseTheDevice();
  EXPECT_FALSE(watcher->Read(&notice));
  ExpectPoisoned(EndOf(watcher->Finish(), watch_context));
  v1::PullResponse response;
  EXPECT_FALSE(reader->Read(&response));
  ExpectPoisoned(EndOf(reader->Finish(), pull_context));
}

}  // namespace
}  // namespace accrue
