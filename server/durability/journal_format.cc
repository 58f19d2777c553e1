#include "server/durability/journal_format.h"

#include <algorithm>
#include <xxhash.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "server/durability/little_endian.h"

namespace accrue::journal {
namespace {

constexpr std::string_view kMagic = "ACCRJRNL";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kFrameMagic = 0x63655241;  // "ARec"
constexpr size_t kPayloadFactsBytes = 16;

constexpr std::string_view kNamePrefix = "journal-";
constexpr std::string_view kNameSuffix = ".log";
constexpr size_t kNameDigits = 20;

uint64_t Checksum(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::string_view View(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string SegmentName(int64_t first_lsn) {
  return absl::StrFormat("journal-%020d.log", first_lsn);
}

std::optional<int64_t> LsnOfName(std::string_view name) {
  if (name.size() != kNamePrefix.size() + kNameDigits + kNameSuffix.size() ||
      !name.starts_with(kNamePrefix) || !name.ends_with(kNameSuffix)) {
    return std::nullopt;
  }
  const std::string_view digits = name.substr(kNamePrefix.size(), kNameDigits);
  int64_t lsn = 0;
  if (!absl::SimpleAtoi({digits.data(), digits.size()}, &lsn) || lsn < 1 ||
      SegmentName(lsn) != name) {
    return std::nullopt;
  }
  return lsn;
}

std::string EncodeHeader(Header& header) {
  std::string bytes(kMagic);
  AppendLittle(kVersion, bytes);
  AppendLittle(uint32_t{0}, bytes);
  AppendLittle(header.first_lsn, bytes);
  bytes += header.id;
  bytes.resize(kHeaderBytes - sizeof(uint64_t));
  header.seed = Checksum(bytes, 0);
  AppendLittle(header.seed, bytes);
  return bytes;
}

std::optional<Header> DecodeHeader(Bytes bytes) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  Header header;
  header.first_lsn = LoadLittle<int64_t>(&bytes[16]);
  header.id = std::string(View(bytes.subspan(24, kIdBytes)));
  // All of it is known now.
  if (EncodeHeader(header) != View(bytes.subspan(0, kHeaderBytes))) {
    return std::nullopt;
  }
  return header;
}

std::string EncodeMarker(const Marker& marker, uint64_t seed) {
  std::string bytes;
  AppendLittle(marker.synced_bytes, bytes);
  AppendLittle(marker.next_lsn, bytes);
  AppendLittle(Checksum(bytes, seed), bytes);
  return bytes;
}

std::optional<Marker> DecodeMarker(Bytes bytes, uint64_t seed) {
  if (bytes.size() < kMarkerBytes) return std::nullopt;
  const Marker marker = {LoadLittle<int64_t>(&bytes[0]),
                         LoadLittle<int64_t>(&bytes[8])};
  if (EncodeMarker(marker, seed) != View(bytes.subspan(0, kMarkerBytes))) {
    return std::nullopt;
  }
  return marker;
}

int64_t FrameBytesOf(size_t head_bytes, size_t payload_count) {
  return Aligned(static_cast<int64_t>(
      kFixedFrameBytes + payload_count * kPayloadFactsBytes + head_bytes));
}

std::string EncodeFrame(const Frame& frame, uint64_t seed) {
  std::string rest;
  AppendLittle(kFrameMagic, rest);
  AppendLittle(frame.type, rest);
  AppendLittle(frame.lsn, rest);
  AppendLittle(frame.synced_bytes, rest);
  AppendLittle(static_cast<uint32_t>(frame.head.size()), rest);
  AppendLittle(static_cast<uint32_t>(frame.payloads.size()), rest);
  for (const PayloadFacts& payload : frame.payloads) {
    AppendLittle(payload.bytes, rest);
    AppendLittle(payload.hash, rest);
  }
  rest += frame.head;
  rest.resize(static_cast<size_t>(Aligned(static_cast<int64_t>(rest.size()))));
  std::string bytes;
  bytes.reserve(sizeof(uint64_t) + rest.size());
  AppendLittle(Checksum(rest, seed), bytes);
  return bytes += rest;
}

std::optional<int64_t> FrameBytes(Bytes fixed, int64_t most_bytes) {
  if (fixed.size() < kFixedFrameBytes ||
      LoadLittle<uint32_t>(&fixed[8]) != kFrameMagic) {
    return std::nullopt;
  }
  // Of numbers below 2^32: nothing overflows.
  const int64_t bytes = FrameBytesOf(LoadLittle<uint32_t>(&fixed[32]),
                                     LoadLittle<uint32_t>(&fixed[36]));
  if (bytes > most_bytes) return std::nullopt;
  return bytes;
}

std::optional<Frame> DecodeFrame(Bytes bytes, uint64_t seed) {
  const std::string_view rest = View(bytes.subspan(sizeof(uint64_t)));
  if (LoadLittle<uint64_t>(&bytes[0]) != Checksum(rest, seed)) {
    return std::nullopt;
  }
  Frame frame;
  frame.type = LoadLittle<uint32_t>(&bytes[12]);
  frame.lsn = LoadLittle<int64_t>(&bytes[16]);
  frame.synced_bytes = LoadLittle<int64_t>(&bytes[24]);
  const size_t head = LoadLittle<uint32_t>(&bytes[32]);
  const size_t payloads = LoadLittle<uint32_t>(&bytes[36]);
  frame.payloads.reserve(payloads);
  size_t at = kFixedFrameBytes;
  for (size_t i = 0; i < payloads; ++i, at += kPayloadFactsBytes) {
    frame.payloads.push_back({LoadLittle<int64_t>(&bytes[at]),
                              LoadLittle<uint64_t>(&bytes[at + 8])});
  }
  frame.head = std::string(View(bytes.subspan(at, head)));
  return frame;
}

}  // namespace accrue::journal
