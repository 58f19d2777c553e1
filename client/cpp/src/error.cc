#include "accrue/error.h"

#include <cstring>

#include "absl/strings/cord.h"
#include "absl/types/optional.h"
#include "accrue/v1/error.pb.h"
#include "client/cpp/src/error_payload.h"

namespace accrue::client {
namespace {

constexpr char kPrefix[] = "REASON_";

#define ACCRUE_SAME_REASON(ours, theirs)          \
  static_assert(static_cast<int>(Reason::ours) == \
                static_cast<int>(v1::ErrorDetail::theirs))
ACCRUE_SAME_REASON(kUnspecified, REASON_UNSPECIFIED);
ACCRUE_SAME_REASON(kInvalidSpec, REASON_INVALID_SPEC);
ACCRUE_SAME_REASON(kWrongShape, REASON_WRONG_SHAPE);
ACCRUE_SAME_REASON(kNonFinite, REASON_NON_FINITE);
ACCRUE_SAME_REASON(kChecksum, REASON_CHECKSUM);
ACCRUE_SAME_REASON(kModelUnknown, REASON_MODEL_UNKNOWN);
ACCRUE_SAME_REASON(kModelExists, REASON_MODEL_EXISTS);
ACCRUE_SAME_REASON(kAlreadyInitialized, REASON_ALREADY_INITIALIZED);
ACCRUE_SAME_REASON(kNotInitialized, REASON_NOT_INITIALIZED);
ACCRUE_SAME_REASON(kPoisoned, REASON_POISONED);
ACCRUE_SAME_REASON(kStale, REASON_STALE);
ACCRUE_SAME_REASON(kLineageChanged, REASON_LINEAGE_CHANGED);
ACCRUE_SAME_REASON(kFuture, REASON_FUTURE);
ACCRUE_SAME_REASON(kSequenceReused, REASON_SEQUENCE_REUSED);
ACCRUE_SAME_REASON(kSequenceOld, REASON_SEQUENCE_OLD);
ACCRUE_SAME_REASON(kSessionFenced, REASON_SESSION_FENCED);
ACCRUE_SAME_REASON(kSessionUnknown, REASON_SESSION_UNKNOWN);
ACCRUE_SAME_REASON(kMicroSteps, REASON_MICRO_STEPS);
ACCRUE_SAME_REASON(kQuota, REASON_QUOTA);
ACCRUE_SAME_REASON(kSuperseded, REASON_SUPERSEDED);
ACCRUE_SAME_REASON(kDraining, REASON_DRAINING);
ACCRUE_SAME_REASON(kIngestMemory, REASON_INGEST_MEMORY);
ACCRUE_SAME_REASON(kLimit, REASON_LIMIT);
ACCRUE_SAME_REASON(kSlowPush, REASON_SLOW_PUSH);
ACCRUE_SAME_REASON(kSlowReader, REASON_SLOW_READER);
ACCRUE_SAME_REASON(kDeviceFault, REASON_DEVICE_FAULT);
ACCRUE_SAME_REASON(kPartial, REASON_PARTIAL);
ACCRUE_SAME_REASON(kStateMemory, REASON_STATE_MEMORY);
ACCRUE_SAME_REASON(kDataConnection, REASON_DATA_CONNECTION);
ACCRUE_SAME_REASON(kDeviceMemory, REASON_DEVICE_MEMORY);
ACCRUE_SAME_REASON(kJournalFailed, REASON_JOURNAL_FAILED);
ACCRUE_SAME_REASON(kDamaged, REASON_DAMAGED);
ACCRUE_SAME_REASON(kNoDataDirectory, REASON_NO_DATA_DIRECTORY);
ACCRUE_SAME_REASON(kCheckpointUnknown, REASON_CHECKPOINT_UNKNOWN);
ACCRUE_SAME_REASON(kCheckpointFailed, REASON_CHECKPOINT_FAILED);
static_assert(static_cast<int>(Reason::kCheckpointFailed) ==
              static_cast<int>(v1::ErrorDetail::Reason_MAX));
#undef ACCRUE_SAME_REASON

}  // namespace

std::optional<ErrorDetail> GetErrorDetail(const absl::Status& status) {
  const absl::optional<absl::Cord> payload =
      status.GetPayload(internal::kErrorPayloadUrl);
  v1::ErrorDetail proto;
  if (!payload.has_value() || !proto.ParseFromString(std::string(*payload))) {
    return std::nullopt;
  }
  return ErrorDetail{
      .reason = static_cast<Reason>(proto.reason()),
      .current_version = proto.current_version(),
      .lineage = proto.lineage(),
      .retry_after = absl::Seconds(proto.retry_after().seconds()) +
                     absl::Nanoseconds(proto.retry_after().nanos()),
      .subject = proto.subject(),
  };
}

Reason GetReason(const absl::Status& status) {
  const std::optional<ErrorDetail> detail = GetErrorDetail(status);
  return detail.has_value() ? detail->reason : Reason::kUnspecified;
}

absl::string_view ReasonName(Reason reason) {
  const int number = static_cast<int>(reason);
  if (!v1::ErrorDetail::Reason_IsValid(number)) return "UNKNOWN";
  const std::string& name = v1::ErrorDetail::Reason_Name(number);
  return absl::string_view(name).substr(std::strlen(kPrefix));
}

}  // namespace accrue::client
