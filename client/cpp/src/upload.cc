#include "client/cpp/src/upload.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "absl/time/clock.h"
#include "client/cpp/src/chunk_stream.h"
#include "client/cpp/src/raw_call.h"
#include "client/cpp/src/status_from_grpc.h"

namespace accrue::client::internal {

UploadResult Upload(Channel& channel, const UploadRequest& request,
                    google::protobuf::Message* response) {
  const auto connection = channel.GetConnection(request.deadline);
  if (!connection.ok()) return {.status = connection.status()};
  const auto nothing =
      Payload::Encoded(Encoding::kF32, absl::Span<const Payload::Part>());
  ChunkStream chunks(request.data == nullptr ? request.payload : nothing,
                     request.header.SerializeAsString(),
                     channel.options().chunk_bytes);
  RawCall call(*connection, request.method, request.deadline);
  UploadResult result;
  bool taken = true;
  while (taken && !chunks.done()) {
    const grpc::ByteBuffer message = chunks.Next();
    taken = call.Write(message, chunks.done());
    if (taken) result.request_bytes += static_cast<int64_t>(message.Length());
    if (taken && request.progress) request.progress(chunks.cut_bytes());
  }
  // Even where the last write has failed, its bytes may have left.
  result.all_sent = chunks.done() && request.data == nullptr;
  grpc::ByteBuffer answer;
  call.StartRead(&answer);
  if (taken && request.data != nullptr) {
    result.all_sent = request.data->Send(request.payload, [&] {
      return !call.ReadIsDone() && absl::Now() < request.deadline;
    });
    if (result.all_sent) result.request_bytes += request.payload.size_bytes();
  }
  const bool answered = call.AwaitRead();
  result.status = call.Finish();
  call.AwaitRelease(chunks.held());
  if (answered) result.response_bytes = static_cast<int64_t>(answer.Length());
  if (result.status.ok()) {
    grpc::ProtoBufferReader reader(&answer);
    if (!answered || !response->ParseFromZeroCopyStream(&reader)) {
      result.status = CutShort();
    }
  }
  return result;
}

}  // namespace accrue::client::internal
