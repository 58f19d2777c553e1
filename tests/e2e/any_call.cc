#include "tests/e2e/any_call.h"

#include <grpcpp/generic/generic_stub.h>

namespace accrue {

Metadata Bearer(const std::string& token) {
  return {{"authorization", "Bearer " + token}};
}

Ending CallAny(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& method, const std::string& request,
               const Metadata& metadata) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  BoundedContext context;
  for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
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
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  await();
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  const bool answered = await();
  if (answered) context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  await();
  return EndOf(answered ? grpc::Status::OK : status, context);
}

}  // namespace accrue
