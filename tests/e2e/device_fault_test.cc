// A device that fails, seen from outside: the model is poisoned and refuses all
// until it is initialized again, and the other models of the same daemon go on.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/daemon.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/e2e/wire.h"
#include "tests/service/raw_call.h"

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

TEST_F(DeviceFaultTest, InitializingItAgainBringsItBack) {
  v1::PushHeader old = wire_.Header("faulty", faulty_, kGoodPasses + 1,
                                    std::vector<float>(kFaultyElems, 1.0f));
  LoseTheDevice();
  const std::string lineage = wire_.Describe("faulty").version().lineage();
  EXPECT_EQ(old.version().lineage(), lineage);
  const std::vector<float> values(kFaultyElems, 4.0f);
  // Half of them is nothing.
  EXPECT_EQ(wire_.InitializeValues("faulty", values, 1).detail.reason(),
            Detail::REASON_PARTIAL);
  EXPECT_EQ(wire_.Describe("faulty").state(), v1::Model::STATE_POISONED);

  const Ending initialized = wire_.InitializeValues("faulty", values);
  EXPECT_TRUE(initialized.status.ok()) << initialized.status.error_message();
  const v1::Model restored = wire_.Describe("faulty");
  EXPECT_EQ(restored.state(), v1::Model::STATE_READY);
  EXPECT_EQ(restored.version().number(), 0);
  EXPECT_NE(restored.version().lineage(), lineage);
  EXPECT_EQ(restored.folded_pushes(), 0);
  EXPECT_EQ(wire_.Parameters("faulty"), FloatBytes(values));
  EXPECT_EQ(wire_.InitializeValues("faulty", values).detail.reason(),
            Detail::REASON_ALREADY_INITIALIZED);

  const std::vector<float> gradient(kFaultyElems, 1.0f);
  const Ending refused = wire_.Push(old, FloatBytes(gradient));
  EXPECT_EQ(refused.status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(refused.detail.reason(), Detail::REASON_LINEAGE_CHANGED);
  EXPECT_EQ(refused.detail.lineage(), restored.version().lineage());

  // The session that was opened before goes on, and the numbers are a new
  // model's: each element's are those of any other model of this rule.
  ASSERT_TRUE(wire_.Delete("sound").status.ok());
  ASSERT_TRUE(
      wire_.Create(Wire::Spec("sound", kFaultyElems + 1, 1)).status.ok());
  const std::vector<float> other_values(kFaultyElems + 1, 4.0f);
  ASSERT_TRUE(wire_.InitializeValues("sound", other_values).status.ok());
  sound_ = wire_.Open("sound", "w");
  const std::vector<float> other(kFaultyElems + 1, 1.0f);
  for (int64_t i = 1; i <= 3; ++i) {
    EXPECT_TRUE(PushFaulty(kGoodPasses + i).status.ok());
    EXPECT_TRUE(
        wire_.Push(wire_.Header("sound", sound_, i, other), FloatBytes(other))
            .status.ok());
  }
  EXPECT_EQ(wire_.Describe("faulty").version().number(), 3);
  EXPECT_EQ(wire_.Parameters("faulty"),
            wire_.Parameters("sound").substr(0, kFaultyElems * 4));
}

TEST_F(DeviceFaultTest, HealthTellsOfPoisonedModelsAndThatTheDaemonIsUp) {
  const auto channel =
      grpc::CreateChannel(daemon_->tcp(), grpc::InsecureChannelCredentials());
  const auto expect = [&](const std::string& models) {
    EXPECT_EQ(HealthOf(channel, "accrue.models"), models);
    for (const char* service : {"", "accrue.devices", "accrue.v1.WorkerService",
                                "accrue.v1.ModelService"}) {
      EXPECT_EQ(HealthOf(channel, service), "SERVING") << service;
    }
  };
  expect("SERVING");
  LoseTheDevice();
  expect("NOT_SERVING");
  // A worker that only creates or opens its model does not.
  ExpectPoisoned(wire_.Initialize("faulty", /*restore=*/false));
  ASSERT_TRUE(wire_.Initialize("faulty").status.ok());
  expect("SERVING");
  // One that loses its device again and is deleted.
  ASSERT_TRUE(wire_.Delete("faulty").status.ok());
  wire_.Make(Wire::Spec("faulty", kFaultyElems, 1));
  faulty_ = wire_.Open("faulty", "w");
  for (int64_t i = 1; i <= kGoodPasses; ++i) {
    EXPECT_TRUE(PushFaulty(i).status.ok());
  }
  LoseTheDevice();
  expect("NOT_SERVING");
  ASSERT_TRUE(wire_.Delete("faulty").status.ok());
  expect("SERVING");
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
