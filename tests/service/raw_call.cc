#include "tests/service/raw_call.h"

#include <grpcpp/generic/generic_stub.h>

#include "absl/time/clock.h"

namespace accrue {

std::string Call(const std::shared_ptr<grpc::Channel>& channel,
                 const std::string& method, const std::string& request,
                 grpc::Status* status) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const auto await = [&] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  await();
  const grpc::Slice slice(request);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  await();
  call->WritesDone(nullptr);
  await();
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  const bool answered = await();
  call->Finish(status, nullptr);
  await();
  grpc::Slice bytes;
  if (!answered || !response.DumpToSingleSlice(&bytes).ok()) return "";
  return std::string(bytes.begin(), bytes.end());
}

std::string HealthOf(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& service) {
  std::string request;
  if (!service.empty()) {
    request =
        "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  }
  grpc::Status status;
  const std::string response =
      Call(channel, "/grpc.health.v1.Health/Check", request, &status);
  if (!status.ok()) return status.error_message();
  if (response == std::string("\x08\x01", 2)) return "SERVING";
  if (response == std::string("\x08\x02", 2)) return "NOT_SERVING";
  return response;
}

std::string AwaitHealth(const std::shared_ptr<grpc::Channel>& channel,
                        const std::string& service, const std::string& wanted) {
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  std::string health;
  do {
    health = HealthOf(channel, service);
  } while (health != wanted && absl::Now() < deadline);
  return health;
}

}  // namespace accrue
