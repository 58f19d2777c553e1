// ChunkStream: cuts a payload into the messages of Push and InitializeModel,
// which reference the caller's memory instead of copying it.
//
// Shapes.    message 0: field 1, the header, and field 2, the first chunk;
//            message i: field 2. Chunks have `chunk_bytes`, but for the last,
//            and for the first, which has at most 64 KiB; without a payload
//            message 0 is the header alone
// Memory.    messages point into the payload; held() counts the pieces that
//            gRPC has not released. Pieces below 8 KiB are copied: that is
//            cheaper than a reference
// Invariant. the payload and this object stay until held() is 0
// Threading. compatible; gRPC's threads count held() down

#ifndef ACCRUE_CLIENT_CPP_SRC_CHUNK_STREAM_H_
#define ACCRUE_CLIENT_CPP_SRC_CHUNK_STREAM_H_

#include <atomic>
#include <cstdint>
#include <string>

#include <grpcpp/support/byte_buffer.h>

#include "accrue/payload.h"

namespace accrue::client::internal {

class ChunkStream {
 public:
  // Header: a serialized PushHeader or InitializeModelHeader.
  ChunkStream(const Payload& payload, const std::string& header,
              int64_t chunk_bytes);
  ChunkStream(const ChunkStream&) = delete;

  // The next message. Not when done().
  grpc::ByteBuffer Next();

  // The last message was made.
  bool done() const { return done_; }

  // Bytes of the payload in the messages so far.
  int64_t cut_bytes() const { return payload_.size_bytes() - left_bytes_; }

  const std::atomic<int64_t>& held() const { return held_; }

 private:
  const Payload& payload_;
  const int64_t chunk_bytes_;
  int64_t next_bytes_;  // of the next chunk, if there are as many
  std::string prefix_;  // the header's field, until it is sent
  int64_t left_bytes_;
  size_t part_ = 0;         // where the next chunk begins
  int64_t part_start_ = 0;  // in that part
  bool done_ = false;
  std::atomic<int64_t> held_ = 0;
};

// XXH3-64 of a payload's bytes.
uint64_t Checksum(const Payload& payload);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CHUNK_STREAM_H_
