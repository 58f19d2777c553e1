// JournalFormat: the bytes of a journal's segment, as FORMAT.md describes them.
//
// Errors.    Decode...: empty where the bytes are not what Encode... makes.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_JOURNAL_FORMAT_H_
#define ACCRUE_SERVER_DURABILITY_JOURNAL_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace accrue::journal {

using Bytes = absl::Span<const std::byte>;

inline constexpr size_t kIdBytes = 32;  // RandomId's digits

// "journal-00000000000000000017.log"
std::string SegmentName(int64_t first_lsn);
std::optional<int64_t> LsnOfName(std::string_view name);
// What a segment is called until its header is durable.
inline constexpr char kUnfinishedName[] = "journal.tmp";

// At byte 0.
struct Header {
  int64_t first_lsn = 1;
  std::string id;     // of the model's incarnation
  uint64_t seed = 0;  // of all other checksums: the header's own
};
inline constexpr size_t kHeaderBytes = 64;
// Sets the seed.
std::string EncodeHeader(Header& header);
std::optional<Header> DecodeHeader(Bytes bytes);

// In a sector of its own.
struct Marker {
  int64_t synced_bytes = 0;  // of the segment are durable
  int64_t next_lsn = 0;      // that the next segment begins with; 0: none
};
inline constexpr int64_t kMarkerOffset = 512;
inline constexpr size_t kMarkerBytes = 24;
std::string EncodeMarker(const Marker& marker, uint64_t seed);
std::optional<Marker> DecodeMarker(Bytes bytes, uint64_t seed);

inline constexpr int64_t kRecordsBegin = 4096;
// Of records, and of what they are made of.
inline constexpr int64_t kAlignment = 8;
constexpr int64_t Aligned(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// A record: a frame, which ends in its head; then its payloads. How a frame
// begins is under a checksum of its own: nothing else is taken for a frame, and
// read, because it looks like one.
struct PayloadFacts {
  int64_t bytes = 0;
  uint64_t hash = 0;  // XXH3-64, of seed 0
};
struct Frame {
  uint32_t type = 0;
  int64_t lsn = 0;
  int64_t synced_bytes = 0;  // Marker's, when this was written
  std::vector<PayloadFacts> payloads;
  std::string head;
};
inline constexpr size_t kFixedFrameBytes = 48;
struct FrameStart {
  int64_t lsn = 0;
  int64_t synced_bytes = 0;
  int64_t frame_bytes = 0;  // of the whole frame
};
// The whole size of a frame.
int64_t FrameBytesOf(size_t head_bytes, size_t payload_count);
std::string EncodeFrame(const Frame& frame, uint64_t seed);
// `fixed`: at least kFixedFrameBytes.
std::optional<FrameStart> DecodeFrameStart(Bytes fixed, uint64_t seed);
// `bytes`: as many as its start says.
std::optional<Frame> DecodeFrame(Bytes bytes, uint64_t seed);

}  // namespace accrue::journal

#endif  // ACCRUE_SERVER_DURABILITY_JOURNAL_FORMAT_H_
