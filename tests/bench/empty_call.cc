#include "tests/bench/empty_call.h"

#include <string>

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>

#include "tests/bench/peer_process.h"

namespace accrue::bench {
namespace {

std::shared_ptr<grpc::Channel> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // as in the SDK
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

struct EmptyCall::Stub {
  explicit Stub(const std::string& target) : generic(Connect(target)) {}
  ~Stub() {
    queue.Shutdown();
    void* tag;
    bool ok;
    while (queue.Next(&tag, &ok)) {
    }
  }
  grpc::GenericStub generic;
  grpc::CompletionQueue queue;
};

EmptyCall::EmptyCall(const std::string& target)
    : stub_(std::make_unique<Stub>(target)) {}

EmptyCall::~EmptyCall() = default;

void EmptyCall::Run() {
  grpc::ClientContext context;
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call = stub_->generic.PrepareUnaryCall(
      &context, "/grpc.health.v1.Health/Check", request, &stub_->queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  // The calling thread polls the socket: no hand-over.
  stub_->queue.Next(&tag, &ok);
  if (status.ok()) return;
  Die("health check: " + status.error_message());
}

}  // namespace accrue::bench
