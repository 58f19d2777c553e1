#include "tests/bench/empty_call.h"

#include <cstdio>
#include <cstdlib>

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>

#include "server/base/mutex.h"

namespace accrue::bench {

struct EmptyCall::Stub {
  explicit Stub(const std::string& target)
      : generic(
            grpc::CreateChannel(target, grpc::InsecureChannelCredentials())) {}
  grpc::GenericStub generic;
  Mutex mutex;
  CondVar changed;
};

EmptyCall::EmptyCall(const std::string& target)
    : stub_(std::make_unique<Stub>(target)) {}

EmptyCall::~EmptyCall() = default;

void EmptyCall::Run() {
  grpc::ClientContext context;
  const grpc::Slice nothing;
  grpc::ByteBuffer request(&nothing, 1), response;
  grpc::Status status;
  bool done = false;
  stub_->generic.UnaryCall(&context, "/grpc.health.v1.Health/Check",
                           grpc::StubOptions(), &request, &response,
                           [&](grpc::Status answer) {
                             MutexLock lock(&stub_->mutex);
                             status = std::move(answer);
                             done = true;
                             stub_->changed.Signal();
                           });
  MutexLock lock(&stub_->mutex);
  while (!done) stub_->changed.Wait(&stub_->mutex);
  if (status.ok()) return;
  std::fprintf(stderr, "health check: %s\n", status.error_message().c_str());
  std::exit(1);
}

}  // namespace accrue::bench
