#include "server/ingest/payload_assembly.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ingest/admission.h"

namespace accrue {
namespace {

// What is scanned, then hashed and copied, while it is in the nearest cache.
constexpr int64_t kScanBytes = 16 << 10;

}  // namespace

PayloadAssembly::PayloadAssembly(Expected expected)
    : expected_(std::move(expected)),
      copy_(expected_.payload_bytes),
      scan_(expected_.blocks, expected_.encoding) {}

absl::Status PayloadAssembly::AddFirst(ByteChain chunk) {
  const int64_t bytes = received_bytes() + chunk.size_bytes();
  if (bytes > expected_.payload_bytes) {
    return Refuse(Reason::kWrongShape,
                  absl::StrCat("at least ", bytes, " bytes, want ",
                               expected_.payload_bytes));
  }
  unread_.Append(std::move(chunk));
  return absl::OkStatus();
}

void PayloadAssembly::Scan() {
  for (const ByteChain::Span& span : unread_.spans()) {
    for (int64_t i = 0; i < span.size; i += kScanBytes) {
      const int64_t size = std::min(kScanBytes, span.size - i);
      scan_.Update(span.data + i, size);
      hash_.Update(span.data + i, size);
      if (expected_.copies) copy_.Append(span.data + i, size);
    }
  }
  if (expected_.copies) {
    unread_.Clear();
  } else {
    read_.Append(std::move(unread_));
  }
}

absl::Status PayloadAssembly::Add(ByteChain chunk) {
  const int64_t size = chunk.size_bytes();
  const int64_t before = received_bytes();
  const bool fits = before + size <= expected_.payload_bytes;
  const bool completes = before + size == expected_.payload_bytes;
  if (fits && (last_seen_ || (size < kMinChunkBytes && !completes))) {
    return Refuse(
        Reason::kWrongShape,
        absl::StrCat("a chunk of ", size, " bytes at ", before, " of ",
                     expected_.payload_bytes, ", want chunks of at least ",
                     kMinChunkBytes, " but for the last"));
  }
  last_seen_ = size < kMinChunkBytes;
  return AddFirst(std::move(chunk));
}

absl::Status PayloadAssembly::Finish() {
  Scan();
  if (received_bytes() != expected_.payload_bytes) {
    return Refuse(Reason::kPartial,
                  absl::StrCat("the stream ended after ", received_bytes(),
                               " bytes, want ", expected_.payload_bytes));
  }
  if (expected_.checksum.has_value() && *expected_.checksum != hash()) {
    return Refuse(
        Reason::kChecksum,
        absl::StrCat("XXH3-64 ", absl::Hex(hash(), absl::kZeroPad16),
                     ", the header says ",
                     absl::Hex(*expected_.checksum, absl::kZeroPad16)));
  }
  if (!scan_.flaw().empty()) return Refuse(Reason::kWrongShape, scan_.flaw());
  return absl::OkStatus();
}

absl::Status PayloadAssembly::Refuse(Reason reason,
                                     absl::string_view problem) const {
  ErrorInfo info;
  info.reason = reason;
  info.subject = expected_.subject;
  return MakeError(absl::StatusCode::kInvalidArgument, info,
                   absl::StrCat(expected_.what, ": ", problem));
}

}  // namespace accrue
