// MessageBytes: messages of the API as the bytes that gRPC moves.
//
// Handlers take their requests as bytes and parse them here, once their caller
// may make the call, and how much is in them has been looked at: parsed, a
// request can be some fifty times as large.

#ifndef ACCRUE_SERVER_SERVICE_MESSAGE_BYTES_H_
#define ACCRUE_SERVER_SERVICE_MESSAGE_BYTES_H_

#include <cstdint>

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "server/service/limits.h"

namespace accrue {

// Errors.    INVALID_ARGUMENT: not an encoded message; kInvalidSpec: too many
//            entries of something (field_count.h). RESOURCE_EXHAUSTED kLimit:
//            more than `max_bytes`
absl::Status ParseRequest(const grpc::ByteBuffer& bytes,
                          google::protobuf::Message& request,
                          int64_t max_bytes = kMaxRequestBytes);

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_MESSAGE_BYTES_H_
