#include "server/service/access.h"

#include <memory>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "accrue/v1/worker_service.grpc.pb.h"
#include "server/service/status.h"

namespace accrue {
namespace {

constexpr char kToken[] = "the-token-of-a-worker";

std::shared_ptr<const Tokens> TokensOfAWorker() {
  auto tokens = std::make_shared<Tokens>();
  EXPECT_TRUE(
      tokens->Add({.name = "worker", .role = Role::kPush}, HashToken(kToken))
          .ok());
  return tokens;
}

// A watch ends with what its handler is told when it asks. Between the
// interceptor and that come new tokens.
class Watches : public v1::WorkerService::WithCallbackMethod_Watch<
                    v1::WorkerService::Service> {
 public:
  explicit Watches(Access* access) : access_(access) {}

  grpc::ServerWriteReactor<v1::WatchResponse>* Watch(
      grpc::CallbackServerContext* context, const v1::WatchRequest*) override {
    class Reactor final : public grpc::ServerWriteReactor<v1::WatchResponse> {
     public:
      void OnDone() override { delete this; }
    };
    access_->SetTokens(TokensOfAWorker());
    auto* const reactor = new Reactor;
    reactor->Finish(ToGrpc(access_->Check(context, std::nullopt), context));
    return reactor;
  }

 private:
  Access* const access_;
};

// How a watch ends where a peer may have so many streams.
grpc::StatusCode WatchWhere(int64_t max_streams_per_peer) {
  const Connections connections;
  Access access(&connections, max_streams_per_peer);
  access.SetTokens(TokensOfAWorker());
  Watches watches(&access);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&watches);
  std::vector<
      std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>>
      interceptors;
  interceptors.push_back(access.NewInterceptorFactory());
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  const auto server = builder.BuildAndStart();
  const auto stub = v1::WorkerService::NewStub(grpc::CreateChannel(
      "127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.AddMetadata("authorization", std::string("Bearer ") + kToken);
  const auto call = stub->Watch(&context, {});
  return call->Finish().error_code();
}

TEST(AccessTest, NewTokensLetNoStreamInThatIsOneTooMany) {
  EXPECT_EQ(WatchWhere(/*max_streams_per_peer=*/1), grpc::OK);
  EXPECT_EQ(WatchWhere(/*max_streams_per_peer=*/0), grpc::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace accrue
