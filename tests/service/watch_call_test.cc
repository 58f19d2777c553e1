#include "server/service/watch_call.h"

#include <future>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "accrue/v1/worker_service.grpc.pb.h"
#include "server/service/worker_service.h"
#include "tests/model/harness.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

// The calls have a pool of their own: what is held up there holds up no model.
class WatchCallTest : public testing::Test {
 protected:
  WatchCallTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service_);
    std::vector<
        std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
        interceptors;
    interceptors.push_back(access_.NewInterceptorFactory());
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
    server_ = builder.BuildAndStart();
    stub_ = v1::WorkerService::NewStub(grpc::CreateChannel(
        absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  }

  std::shared_ptr<Model> Create(const ModelSpec& spec) {
    std::promise<absl::StatusOr<ModelStore::Created>> created;
    store_.Create(spec, [&](auto made) { created.set_value(std::move(made)); });
    const auto made = created.get_future().get();
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? made->model : nullptr;
  }

  static absl::StatusOr<Version> GoBack(Model& model,
                                        std::shared_ptr<const Stored> stored) {
    std::promise<absl::StatusOr<Version>> done;
    model.GoBack(std::move(stored),
                 [&](auto version) { done.set_value(std::move(version)); });
    return done.get_future().get();
  }

  Harness harness_;
  ModelStore store_{{.environment = harness_.environment(), .limits = {}}};
  Connections connections_;
  Access access_{&connections_, std::numeric_limits<int64_t>::max()};
  LiveCalls calls_;
  WorkPool pool_{1};
  const CallEnvironment environment_{.store = &store_,
                                     .pool = &pool_,
                                     .lane = pool_.NewLane(),
                                     .calls = &calls_,
                                     .access = &access_};
  WorkerService service_{environment_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
};

// It is late: the model has gone back behind what it was of.
TEST_F(WatchCallTest, ANoticeStandsForTheNewestVersionThatThereIs) {
  const auto model = Create(SimpleSpec(3, 1));
  ASSERT_NE(model, nullptr);
  ASSERT_TRUE(harness_.Initialize(*model, 1).ok());
  const auto session = harness_.Open(*model, "a");
  ASSERT_TRUE(session.ok()) << session.status();
  const auto stored = CaptureNow(*model);
  ASSERT_TRUE(stored.ok()) << stored.status();
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_model(model->spec().name);
  const auto watch = stub_->Watch(&context, request);
  v1::WatchResponse heard;
  ASSERT_TRUE(watch->Read(&heard));

  std::promise<void> go_on;
  pool_.Post(environment_.lane,
             [held = go_on.get_future().share()] { held.wait(); });
  EXPECT_TRUE(harness_.PushNow(*model, session->id, 1, {1, 1, 1}).ok());
  const absl::StatusOr<Version> restored = GoBack(*model, *stored);
  go_on.set_value();
  ASSERT_TRUE(restored.ok()) << restored.status();

  ASSERT_TRUE(watch->Read(&heard));
  EXPECT_EQ(heard.version().lineage(), restored->lineage);
  EXPECT_EQ(heard.version().number(), restored->number);
  EXPECT_TRUE(store_.Delete(model->spec().name).ok());
  EXPECT_FALSE(watch->Read(&heard)) << heard.ShortDebugString();
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace accrue
