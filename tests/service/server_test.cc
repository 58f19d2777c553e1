#include "server/service/server.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "server/base/mutex.h"
#include "server/service/convert.h"
#include "tests/service/gpu_fixture.h"
#include "tests/service/raw_call.h"
#include "tests/service/service_fixture.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ServerTest : public ServiceFixture {
 protected:
  ServerTest() = default;
  explicit ServerTest(const ServerOptions& options) : ServiceFixture(options) {}
};

TEST_F(ServerTest, TellsItsLimits) {
  const v1::GetServerInfoResponse info = Info();
  EXPECT_THAT(info.version(), HasSubstr("."));
  EXPECT_THAT(info.devices(), ElementsAre("cpu"));
  ASSERT_EQ(info.device_infos_size(), 1);
  EXPECT_EQ(info.device_infos(0).name(), "cpu");
  EXPECT_EQ(info.device_infos(0).total_bytes(), 0);
  EXPECT_THAT(info.encodings(), ElementsAre(v1::ENCODING_F32, v1::ENCODING_BF16,
                                            v1::ENCODING_F16));
  EXPECT_EQ(info.max_chunk_bytes(), 4 << 20);
  EXPECT_FALSE(info.draining());
  const ServerOptions options = Options();
  EXPECT_EQ(info.ingest_memory_bytes(), options.ingest.ingest_memory_bytes);
  EXPECT_EQ(info.max_push_streams(), options.ingest.max_push_streams);
  EXPECT_EQ(info.max_sessions(), options.max_sessions);
  const int64_t empty = options.ingest.ingest_memory_bytes +
                        options.ingest.max_push_streams *
                            (options.stream_window_bytes + (32 << 10)) +
                        (64 << 20);
  EXPECT_EQ(info.memory_ceiling_bytes(), empty);
  CreateInitialized(PlainSpec("m", 1000), std::vector<float>(1000));
  EXPECT_GT(Info().memory_ceiling_bytes(), empty);
}

class ServerOnGpusTest : public GpuFixture {};

TEST_F(ServerOnGpusTest, TellsOfEachWhatItsDriverKnows) {
  for (const bool lost : {false, true}) {
    const v1::GetServerInfoResponse info = Info();
    EXPECT_THAT(info.devices(), ElementsAre("fake:0", "fake:1"));
    ASSERT_EQ(info.device_infos_size(), 2);
    for (int i = 0; i < 2; ++i) {
      const v1::DeviceInfo& device = info.device_infos(i);
      EXPECT_EQ(device.name(), info.devices(i));
      EXPECT_EQ(device.product(), gpu(i).product());
      const bool sound = i == 0 || !lost;
      EXPECT_EQ(device.fault(), sound ? "" : "fake:1: fallen off");
      EXPECT_EQ(device.total_bytes(), sound ? kCapacityBytes : 0);
      // All but what its ring takes.
      EXPECT_EQ(device.free_bytes(),
                sound ? kCapacityBytes - gpu(i).counts().device_bytes : 0);
      EXPECT_EQ(device.free_bytes() < device.total_bytes(), sound);
    }
    gpu(1).Lose("fallen off");
  }
}

TEST_F(ServerOnGpusTest, WhatTheirRingsHavePinnedCountsInTheCeiling) {
  const ServerOptions options = Options();
  EXPECT_EQ(gpu(0).counts().pinned_bytes, 64 << 20);
  EXPECT_EQ(Info().memory_ceiling_bytes(),
            options.ingest.ingest_memory_bytes +
                options.ingest.max_push_streams *
                    (options.stream_window_bytes + (32 << 10)) +
                gpu(0).counts().pinned_bytes + gpu(1).counts().pinned_bytes +
                (64 << 20));
}

TEST_F(ServerTest, IsHealthyAndSoAreItsServices) {
  for (const char* service :
       {"", "accrue.v1.WorkerService", "accrue.v1.ModelService",
        "accrue.v1.ServerService", "accrue.models", "accrue.devices"}) {
    EXPECT_EQ(HealthOf(channel_, service), "SERVING") << service;
  }
}

TEST_F(ServerTest, ServesManyConnections) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < 100; ++i) {
    channels.push_back(NewChannel(server_->addresses()[0]));
    v1::GetModelRequest request;
    request.set_model("m");
    v1::GetModelResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(v1::ModelService::NewStub(channels.back())
                    ->GetModel(&context, request, &response)
                    .ok());
  }
}

class UnixServerTest : public ServerTest {
 protected:
  static ServerOptions UnixOnly() {
    ServerOptions options;
    options.listener.tcp.clear();
    options.listener.unix_path =
        testing::TempDir() + "accrue_" + std::to_string(getpid());
    return options;
  }
  UnixServerTest() : ServerTest(UnixOnly()) {}
};

TEST_F(UnixServerTest, ServesOnAUnixSocket) {
  EXPECT_THAT(server_->addresses(), ElementsAre(StartsWith("unix:/")));
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  v1::PullRequest request;
  request.set_model("m");
  request.set_encoding(v1::ENCODING_F32);
  EXPECT_THAT(Floats(Pull(request).bytes), ElementsAre(1, 2, 3));
}

class DrainTest : public ServerTest {
 protected:
  void SetUp() override {
    version_ =
        CreateInitialized(PlainSpec("m", kElems), std::vector<float>(kElems));
    session_ = OpenSession("m", "w");
  }

  void Drain() {
    server_->Drain([this] {
      MutexLock lock(&mutex_);
      drained_ = true;
      changed_.SignalAll();
    });
  }
  bool drained() {
    MutexLock lock(&mutex_);
    return drained_;
  }
  void AwaitDrained() {
    MutexLock lock(&mutex_);
    while (!drained_) changed_.Wait(&mutex_);
  }

  static constexpr int64_t kElems = 1000;
  v1::Version version_;
  std::string session_;
  Mutex mutex_;
  CondVar changed_;
  bool drained_ ACCRUE_GUARDED_BY(mutex_) = false;
};

TEST_F(DrainTest, WithoutCallsItIsDoneAtOnce) {
  Drain();
  AwaitDrained();
  EXPECT_TRUE(Info().draining());
  EXPECT_EQ(HealthOf(channel_, ""), "NOT_SERVING");
  EXPECT_EQ(HealthOf(channel_, "accrue.v1.WorkerService"), "NOT_SERVING");
}

TEST_F(DrainTest, NewAndIncompletePushesAreRefused) {
  const v1::PushHeader header = HeaderFor("m", session_, 1, version_, kElems);
  grpc::ClientContext context;
  v1::PushResponse response;
  auto writer = workers_->Push(&context, &response);
  v1::PushRequest first;
  *first.mutable_header() = header;
  first.set_chunk("1234");
  ASSERT_TRUE(writer->Write(first));
  while (server_->live_call_count() == 0) std::this_thread::yield();
  Drain();
  const grpc::Status incomplete = writer->Finish();
  EXPECT_THAT(Describe(incomplete, context),
              StartsWith("UNAVAILABLE DRAINING"));
  AwaitDrained();
  grpc::ClientContext later;
  const grpc::Status refused =
      Push(&later, header, std::string(kElems * 4, '\0'), &response);
  EXPECT_THAT(Describe(refused, later), StartsWith("UNAVAILABLE DRAINING"));
}

TEST_F(DrainTest, CallsThatOnlyWaitAreEnded) {
  v1::PullRequest pull;
  pull.set_model("m");
  pull.set_encoding(v1::ENCODING_F32);
  *pull.mutable_have() = version_;
  *pull.mutable_wait() = ToApi(absl::Hours(1));
  std::thread puller([&] {
    EXPECT_THAT(Pull(pull).description, StartsWith("UNAVAILABLE DRAINING"));
  });
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_model("m");
  auto watcher = workers_->Watch(&context, request);
  v1::WatchResponse notice;
  ASSERT_TRUE(watcher->Read(&notice));
  while (server_->live_call_count() < 2) std::this_thread::yield();
  Drain();
  puller.join();
  EXPECT_FALSE(watcher->Read(&notice));
  const grpc::Status watched = watcher->Finish();
  EXPECT_THAT(Describe(watched, context), StartsWith("UNAVAILABLE DRAINING"));
  AwaitDrained();
  // Neither can one begin to wait now; what needs no wait is answered.
  EXPECT_THAT(Pull(pull).description, StartsWith("UNAVAILABLE DRAINING"));
  pull.clear_have();
  EXPECT_TRUE(Pull(pull).status.ok());
}

TEST_F(DrainTest, APullInProgressIsFinished) {
  constexpr int64_t kLargeElems = 4 << 20;
  v1::CreateModelRequest create;
  *create.mutable_spec() = PlainSpec("large", kLargeElems);
  v1::CreateModelResponse created;
  grpc::ClientContext create_context, init_context, context;
  ASSERT_TRUE(models_->CreateModel(&create_context, create, &created).ok());
  v1::InitializeModelResponse initialized;
  auto writer = models_->InitializeModel(&init_context, &initialized);
  v1::InitializeModelRequest initialize;
  initialize.mutable_header()->set_model("large");
  initialize.mutable_header()->add_initializers()->set_tensor("w");
  initialize.mutable_header()->mutable_initializers(0)->set_constant(1);
  writer->Write(initialize);
  writer->WritesDone();
  ASSERT_TRUE(writer->Finish().ok());

  v1::PullRequest pull;
  pull.set_model("large");
  pull.set_encoding(v1::ENCODING_F32);
  auto reader = workers_->Pull(&context, pull);
  v1::PullResponse response;
  ASSERT_TRUE(reader->Read(&response));
  auto received = static_cast<int64_t>(response.chunk().size());
  Drain();
  while (HealthOf(channel_, "") != "NOT_SERVING") {
  }
  EXPECT_FALSE(drained());
  while (reader->Read(&response)) {
    received += static_cast<int64_t>(response.chunk().size());
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(received, kLargeElems * 4);
  AwaitDrained();
}

ServerOptions Listening(const std::string& address) {
  ServerOptions options;
  options.listener.tcp = {address};
  return options;
}

TEST(ServerStartTest, WhatCannotBeIsRefusedWithTheFlagsName) {
  ServerOptions options = Listening("0.0.0.0:0");
  EXPECT_THAT(std::string(Server::Start(options).status().message()),
              HasSubstr("--insecure"));
  options = Listening("127.0.0.1:0");
  options.backend.device = {.kind = DeviceChoice::Kind::kCuda, .gpus = {7}};
  options.backend.open_gpus = [](const std::vector<int>&) {
    return absl::NotFoundError("no such GPU");
  };
  EXPECT_THAT(std::string(Server::Start(options).status().message()),
              HasSubstr("--device=cuda:7: no such GPU"));
}

TEST(ServerStartTest, ReflectionOnlyWhereAskedFor) {
  constexpr char kMethod[] =
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  const std::string list_services("\x3a\x00", 2);
  for (const bool reflection : {false, true, false}) {
    ServerOptions options = Listening("127.0.0.1:0");
    options.reflection = reflection;
    const auto server = Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    ASSERT_EQ((*server)->Serve(), absl::OkStatus());
    grpc::Status status;
    const std::string response = Call(NewChannel((*server)->addresses()[0]),
                                      kMethod, list_services, &status);
    EXPECT_EQ(response.find("accrue.v1.WorkerService") != std::string::npos,
              reflection);
    EXPECT_EQ(status.ok(), reflection) << status.error_message();
  }
}

}  // namespace
}  // namespace accrue
