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
  for (const PayloadFacts& payload : frame.payloads) {
    AppendLittle(payload.bytes, rest);
    AppendLittle(payload.hash, rest);
  }
  rest += frame.head;
  rest.resize(static_cast<size_t>(Aligned(static_cast<int64_t>(rest.size()))));
  std::string fixed;
  AppendLittle(kFrameMagic, fixed);
  AppendLittle(frame.type, fixed);
  AppendLittle(frame.lsn, fixed);
  AppendLittle(frame.synced_bytes, fixed);
  AppendLittle(static_cast<uint32_t>(frame.head.size()), fixed);
  AppendLittle(static_cast<uint32_t>(frame.payloads.size()), fixed);
  AppendLittle(Checksum(rest, seed), fixed);
  std::string bytes;
  bytes.reserve(kFixedFrameBytes + rest.size());
  AppendLittle(Checksum(fixed, seed), bytes);
  return bytes += fixed += rest;
}

std::optional<FrameStart> DecodeFrameStart(Bytes fixed, uint64_t seed) {
  // First what costs least: it is asked of all that is behind a torn record.
  if (LoadLittle<uint32_t>(&fixed[8]) != kFrameMagic) return std::nullopt;
  const std::string_view checked =
      View(fixed.subspan(0, kFixedFrameBytes).subspan(sizeof(uint64_t)));
  if (LoadLittle<uint64_t>(&fixed[0]) != Checksum(checked, seed)) {
    return std::nullopt;
  }
  return FrameStart{
      .lsn = LoadLittle<int64_t>(&fixed[16]),
      .synced_bytes = LoadLittle<int64_t>(&fixed[24]),
      // Of numbers below 2^32: nothing overflows.
      .frame_bytes = FrameBytesOf(LoadLittle<uint32_t>(&fixed[32]),
                                  LoadLittle<uint32_t>(&fixed[36]))};
}

std::optional<Frame> DecodeFrame(Bytes bytes, uint64_t seed) {
  const std::optional<FrameStart> start = DecodeFrameStart(bytes, seed);
  const std::string_view rest = View(bytes.subspan(kFixedFrameBytes));
  if (!start.has_value() ||
      LoadLittle<uint64_t>(&bytes[40]) != Checksum(rest, seed)) {
    return std::nullopt;
  }
  Frame frame;
  frame.type = LoadLittle<uint32_t>(&bytes[12]);
  frame.lsn = start->lsn;
  frame.synced_bytes = start->synced_bytes;
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
