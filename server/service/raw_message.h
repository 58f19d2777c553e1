// RawMessage: stream messages taken apart and put together by hand, so that
// their payload is never copied.
//
// PushRequest, InitializeModelRequest and PullResponse have the same two
// fields: a header message (1) and bytes (2). What is read and written here is
// their protobuf encoding; ordinary stubs of any language understand it.
//
// Memory.    a chunk's spans are the slices that gRPC received; each holds a
//            reference to its slice until it is released.

#ifndef ACCRUE_SERVER_SERVICE_RAW_MESSAGE_H_
#define ACCRUE_SERVER_SERVICE_RAW_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "absl/status/statusor.h"
#include "server/base/byte_chain.h"

namespace accrue {

struct RawMessage {
  std::optional<std::string> header;  // serialized
  ByteChain chunk;
};

// Fields may come in any order and unknown ones are skipped, as in any
// protobuf parser; of several chunks the last counts, several headers merge.
// `message` is left empty.
// Errors.    INVALID_ARGUMENT: not an encoded message, with the offset
absl::StatusOr<RawMessage> ParseRawMessage(grpc::ByteBuffer* message);

// A message of a header (null: none), and of a chunk: the slices one after
// another, referenced, not copied.
grpc::ByteBuffer MakeRawMessage(const std::string* header,
                                std::vector<grpc::Slice> chunk);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_RAW_MESSAGE_H_
