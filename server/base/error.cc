#include "server/base/error.h"

#include <cstring>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/types/optional.h"

namespace accrue {
namespace {

constexpr char kPayloadUrl[] = "accrue/error-info";

// The payload never leaves the process: fixed-size fields in host order, then
// each string behind its length.
struct FixedPart {
  int32_t reason;
  int32_t lineage_bytes;
  int64_t current_version;
  int64_t retry_after_nanoseconds;
};

std::string Encode(const ErrorInfo& info) {
  FixedPart fixed{static_cast<int32_t>(info.reason),
                  static_cast<int32_t>(info.lineage.size()),
                  info.current_version,
                  absl::ToInt64Nanoseconds(info.retry_after)};
  std::string bytes(sizeof(fixed), '\0');
  std::memcpy(bytes.data(), &fixed, sizeof(fixed));
  bytes += info.lineage;
  bytes += info.subject;
  return bytes;
}

ErrorInfo Decode(const std::string& bytes) {
  ErrorInfo info;
  FixedPart fixed;
  if (bytes.size() < sizeof(fixed)) return info;
  std::memcpy(&fixed, bytes.data(), sizeof(fixed));
  info.reason = static_cast<Reason>(fixed.reason);
  info.current_version = fixed.current_version;
  info.retry_after = absl::Nanoseconds(fixed.retry_after_nanoseconds);
  info.lineage = bytes.substr(sizeof(fixed), fixed.lineage_bytes);
  info.subject = bytes.substr(sizeof(fixed) + info.lineage.size());
  return info;
}

}  // namespace

absl::string_view ReasonName(Reason reason) {
  switch (reason) {
    case Reason::kUnspecified:
      return "UNSPECIFIED";
    case Reason::kInvalidSpec:
      return "INVALID_SPEC";
    case Reason::kWrongShape:
      return "WRONG_SHAPE";
    case Reason::kNonFinite:
      return "NON_FINITE";
    case Reason::kChecksum:
      return "CHECKSUM";
    case Reason::kModelUnknown:
      return "MODEL_UNKNOWN";
    case Reason::kModelExists:
      return "MODEL_EXISTS";
    case Reason::kAlreadyInitialized:
      return "ALREADY_INITIALIZED";
    case Reason::kNotInitialized:
      return "NOT_INITIALIZED";
    case Reason::kPoisoned:
      return "POISONED";
    case Reason::kStale:
      return "STALE";
    case Reason::kLineageChanged:
      return "LINEAGE_CHANGED";
    case Reason::kFuture:
      return "FUTURE";
    case Reason::kSequenceReused:
      return "SEQUENCE_REUSED";
    case Reason::kSequenceOld:
      return "SEQUENCE_OLD";
    case Reason::kSessionFenced:
      return "SESSION_FENCED";
    case Reason::kSessionUnknown:
      return "SESSION_UNKNOWN";
    case Reason::kMicroSteps:
      return "MICRO_STEPS";
    case Reason::kQuota:
      return "QUOTA";
    case Reason::kSuperseded:
      return "SUPERSEDED";
    case Reason::kDraining:
      return "DRAINING";
    case Reason::kIngestMemory:
      return "INGEST_MEMORY";
    case Reason::kLimit:
      return "LIMIT";
    case Reason::kSlowPush:
      return "SLOW_PUSH";
    case Reason::kSlowReader:
      return "SLOW_READER";
    case Reason::kDeviceFault:
      return "DEVICE_FAULT";
    case Reason::kPartial:
      return "PARTIAL";
    case Reason::kDataConnection:
      return "DATA_CONNECTION";
    case Reason::kStateMemory:
      return "STATE_MEMORY";
    case Reason::kDeviceMemory:
      return "DEVICE_MEMORY";
    case Reason::kJournalFailed:
      return "JOURNAL_FAILED";
    case Reason::kDamaged:
      return "DAMAGED";
    case Reason::kNoDataDirectory:
      return "NO_DATA_DIRECTORY";
    case Reason::kCheckpointUnknown:
      return "CHECKPOINT_UNKNOWN";
    case Reason::kCheckpointFailed:
      return "CHECKPOINT_FAILED";
  }
  return "UNSPECIFIED";
}

absl::Status MakeError(absl::StatusCode code, const ErrorInfo& info,
                       absl::string_view message) {
  absl::Status status(code, message);
  status.SetPayload(kPayloadUrl, absl::Cord(Encode(info)));
  return status;
}

absl::Status MakeError(absl::StatusCode code, Reason reason,
                       absl::string_view message) {
  ErrorInfo info;
  info.reason = reason;
  return MakeError(code, info, message);
}

absl::Status WithVersion(const absl::Status& status, int64_t version,
                         absl::string_view lineage) {
  ErrorInfo info = GetErrorInfo(status);
  if (status.ok() || !info.lineage.empty()) return status;
  info.current_version = version;
  info.lineage = std::string(lineage);
  return MakeError(status.code(), info, status.message());
}

ErrorInfo GetErrorInfo(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  return payload ? Decode(std::string(*payload)) : ErrorInfo();
}

}  // namespace accrue
