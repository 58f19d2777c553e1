#include "server/service/raw_message.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

// Protobuf's encoding: a tag is (field << 3) | wire type.
enum WireType {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};
constexpr uint64_t kHeaderField = 1;
constexpr uint64_t kChunkField = 2;
constexpr int kDeepestGroup = 100;

constexpr uint64_t Tag(uint64_t field, WireType type) {
  return field << 3 | type;
}

// Reads slices as if they were one array. A read beyond the end gives false.
class SliceCursor {
 public:
  explicit SliceCursor(const std::vector<grpc::Slice>& slices)
      : slices_(slices) {
    for (const grpc::Slice& slice : slices) left_ += slice.size();
    size_ = left_;
    SkipEmpty();
  }

  bool done() const { return left_ == 0; }
  uint64_t offset() const { return size_ - left_; }

  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_ == 0) return false;
      const uint8_t byte = slices_[index_].begin()[at_];
      Advance(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Skip(uint64_t count) {
    return ForEach(count, [](const grpc::Slice&, size_t, size_t) {});
  }

  bool AppendTo(std::string* bytes, uint64_t count) {
    return ForEach(count, [&](const grpc::Slice& slice, size_t at, size_t n) {
      bytes->append(reinterpret_cast<const char*>(slice.begin() + at), n);
    });
  }

  bool AppendTo(ByteChain* chain, uint64_t count) {
    return ForEach(count, [&](const grpc::Slice& slice, size_t at, size_t n) {
      // The data of a short slice lie within the Slice object itself, so the
      // span must point into the reference that it holds.
      auto* held = new grpc::Slice(slice);
      chain->Append(
          held->begin() + at, static_cast<int64_t>(n),
          {[](void* arg) { delete static_cast<grpc::Slice*>(arg); }, held});
    });
  }

 private:
  template <typename Visit>
  bool ForEach(uint64_t count, Visit visit) {
    if (count > left_) return false;
    while (count > 0) {
      const grpc::Slice& slice = slices_[index_];
      const size_t n =
          static_cast<size_t>(std::min<uint64_t>(count, slice.size() - at_));
      visit(slice, at_, n);
      Advance(n);
      count -= n;
    }
    return true;
  }

  void Advance(size_t n) {
    at_ += n;
    left_ -= n;
    if (at_ < slices_[index_].size()) return;
    ++index_;
    at_ = 0;
    SkipEmpty();
  }

  void SkipEmpty() {
    while (index_ < slices_.size() && slices_[index_].size() == 0) ++index_;
  }

  const std::vector<grpc::Slice>& slices_;
  size_t index_ = 0;
  size_t at_ = 0;  // in slices_[index_]
  uint64_t left_ = 0;
  uint64_t size_ = 0;
};

bool SkipField(SliceCursor& cursor, uint64_t tag, int depth);

// The fields of a group, up to the tag that ends it.
bool SkipGroup(SliceCursor& cursor, uint64_t field, int depth) {
  if (depth > kDeepestGroup) return false;
  while (true) {
    uint64_t tag = 0;
    if (!cursor.ReadVarint(&tag)) return false;
    if (tag == Tag(field, kEndGroup)) return true;
    if (!SkipField(cursor, tag, depth)) return false;
  }
}

bool SkipField(SliceCursor& cursor, uint64_t tag, int depth) {
  const uint64_t field = tag >> 3;
  if (field == 0 || tag > UINT32_MAX) return false;
  uint64_t value = 0;
  switch (tag & 7) {
    case kVarint:
      return cursor.ReadVarint(&value);
    case kFixed64:
      return cursor.Skip(8);
    case kLengthDelimited:
      return cursor.ReadVarint(&value) && cursor.Skip(value);
    case kStartGroup:
      return SkipGroup(cursor, field, depth + 1);
    case kFixed32:
      return cursor.Skip(4);
    default:
      return false;
  }
}

bool ParseField(SliceCursor& cursor, RawMessage& parsed) {
  uint64_t tag = 0;
  uint64_t size = 0;
  if (!cursor.ReadVarint(&tag)) return false;
  if (tag == Tag(kHeaderField, kLengthDelimited)) {
    if (!parsed.header) parsed.header.emplace();
    return cursor.ReadVarint(&size) && cursor.AppendTo(&*parsed.header, size);
  }
  if (tag == Tag(kChunkField, kLengthDelimited)) {
    parsed.chunk.Clear();
    return cursor.ReadVarint(&size) && cursor.AppendTo(&parsed.chunk, size);
  }
  return SkipField(cursor, tag, 0);
}

void AppendVarint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    bytes.push_back(static_cast<char>(value | 0x80));
  }
  bytes.push_back(static_cast<char>(value));
}

}  // namespace

absl::StatusOr<RawMessage> ParseRawMessage(grpc::ByteBuffer* message) {
  std::vector<grpc::Slice> slices;
  const grpc::Status dumped = message->Dump(&slices);
  message->Clear();
  if (!dumped.ok()) {
    return absl::InvalidArgumentError("message without readable bytes");
  }
  RawMessage parsed;
  SliceCursor cursor(slices);
  while (!cursor.done()) {
    const uint64_t start = cursor.offset();
    if (!ParseField(cursor, parsed)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "malformed message: the field at byte ", start, " has no end"));
    }
  }
  return parsed;
}

grpc::ByteBuffer MakeRawMessage(const std::string* header,
                                std::vector<grpc::Slice> chunk) {
  std::string prefix;
  if (header != nullptr) {
    AppendVarint(prefix, Tag(kHeaderField, kLengthDelimited));
    AppendVarint(prefix, header->size());
    prefix += *header;
  }
  uint64_t chunk_bytes = 0;
  for (const grpc::Slice& slice : chunk) chunk_bytes += slice.size();
  if (chunk_bytes > 0) {
    AppendVarint(prefix, Tag(kChunkField, kLengthDelimited));
    AppendVarint(prefix, chunk_bytes);
  }
  chunk.insert(chunk.begin(), grpc::Slice(prefix));
  return grpc::ByteBuffer(chunk.data(), chunk.size());
}

}  // namespace accrue
