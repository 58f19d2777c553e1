#include "client/cpp/src/chunk_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/worker_service.pb.h"

// Compiled in: Debian's archive of it lacks the dispatching variant, and users
// of an installed SDK need one library less.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace accrue::client::internal {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

// Both kinds of message look alike.
constexpr int kHeaderField = v1::PushRequest::kHeaderFieldNumber;
constexpr int kChunkField = v1::PushRequest::kChunkFieldNumber;
static_assert(kHeaderField == v1::InitializeModelRequest::kHeaderFieldNumber);
static_assert(kChunkField == v1::InitializeModelRequest::kChunkFieldNumber);

constexpr int64_t kCopiedBelowBytes = 8 << 10;

// What comes with the header while the daemon has no memory free, it has to
// hold nevertheless; a first message with more than this it may refuse.
constexpr int64_t kFirstChunkBytes = 64 << 10;

// The beginning of a length-delimited field, its content still missing.
std::string FieldPrefix(int field, int64_t content_bytes) {
  uint8_t buffer[16];
  uint8_t* end = CodedOutputStream::WriteTagToArray(
      WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED),
      buffer);
  end = CodedOutputStream::WriteVarint32ToArray(
      static_cast<uint32_t>(content_bytes), end);
  return std::string(reinterpret_cast<const char*>(buffer), end - buffer);
}

void Released(void* held) {
  static_cast<std::atomic<int64_t>*>(held)->fetch_sub(
      1, std::memory_order_release);
}

}  // namespace

ChunkStream::ChunkStream(const Payload& payload, const std::string& header,
                         int64_t chunk_bytes)
    : payload_(payload),
      chunk_bytes_(chunk_bytes),
      next_bytes_(std::min(chunk_bytes, kFirstChunkBytes)),
      prefix_(FieldPrefix(kHeaderField, header.size()) + header),
      left_bytes_(payload.size_bytes()) {}

grpc::ByteBuffer ChunkStream::Next() {
  std::vector<grpc::Slice> slices;
  std::string copied = std::exchange(prefix_, std::string());
  int64_t chunk_left =
      std::min(left_bytes_, std::exchange(next_bytes_, chunk_bytes_));
  left_bytes_ -= chunk_left;
  if (chunk_left > 0) copied += FieldPrefix(kChunkField, chunk_left);
  while (chunk_left > 0) {
    const Payload::Part part = payload_.parts()[part_];
    const std::byte* const data = part.data() + part_start_;
    const int64_t part_left = static_cast<int64_t>(part.size()) - part_start_;
    const int64_t size = std::min(chunk_left, part_left);
    if (size < kCopiedBelowBytes) {
      copied.append(reinterpret_cast<const char*>(data), size);
    } else {
      if (!copied.empty()) slices.emplace_back(copied);
      copied.clear();
      held_.fetch_add(1, std::memory_order_relaxed);
      slices.emplace_back(const_cast<std::byte*>(data), size, Released,
                          static_cast<void*>(&held_));
    }
    chunk_left -= size;
    part_start_ += size;
    if (size == part_left) {
      ++part_;
      part_start_ = 0;
    }
  }
  if (!copied.empty()) slices.emplace_back(copied);
  done_ = left_bytes_ == 0;
  return grpc::ByteBuffer(slices.data(), slices.size());
}

uint64_t Checksum(const Payload& payload) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const Payload::Part part : payload.parts()) {
    XXH3_64bits_update(&state, part.data(), part.size());
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace accrue::client::internal
