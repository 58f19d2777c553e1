#include "client/cpp/src/upload.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "client/cpp/src/chunk_stream.h"
#include "client/cpp/src/raw_call.h"
#include "client/cpp/src/status_from_grpc.h"

namespace accrue::client::internal {

UploadResult Upload(Channel& channel, const UploadRequest& request,
                    google::protobuf::Message* response) {
  const auto connection = channel.GetConnection(request.deadline);
  if (!connection.ok()) return {.status = connection.status()};
  ChunkStream chunks(request.payload, request.header.SerializeAsString(),
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
  result.all_sent = chunks.done();
  grpc::ByteBuffer answer;
  const bool answered = call.Read(&answer);
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
