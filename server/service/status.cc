#include "server/service/status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/service/convert.h"

namespace accrue {
namespace {

// The two libraries number their codes alike.
#define ACCRUE_SAME_CODE(absl_name, grpc_name)                     \
  static_assert(static_cast<int>(absl::StatusCode::absl_name) ==   \
                    static_cast<int>(grpc::StatusCode::grpc_name), \
                #absl_name " and " #grpc_name " are not numbered alike")
ACCRUE_SAME_CODE(kOk, OK);
ACCRUE_SAME_CODE(kCancelled, CANCELLED);
ACCRUE_SAME_CODE(kUnknown, UNKNOWN);
ACCRUE_SAME_CODE(kInvalidArgument, INVALID_ARGUMENT);
ACCRUE_SAME_CODE(kDeadlineExceeded, DEADLINE_EXCEEDED);
ACCRUE_SAME_CODE(kNotFound, NOT_FOUND);
ACCRUE_SAME_CODE(kAlreadyExists, ALREADY_EXISTS);
ACCRUE_SAME_CODE(kPermissionDenied, PERMISSION_DENIED);
ACCRUE_SAME_CODE(kResourceExhausted, RESOURCE_EXHAUSTED);
ACCRUE_SAME_CODE(kFailedPrecondition, FAILED_PRECONDITION);
ACCRUE_SAME_CODE(kAborted, ABORTED);
ACCRUE_SAME_CODE(kOutOfRange, OUT_OF_RANGE);
ACCRUE_SAME_CODE(kUnimplemented, UNIMPLEMENTED);
ACCRUE_SAME_CODE(kInternal, INTERNAL);
ACCRUE_SAME_CODE(kUnavailable, UNAVAILABLE);
ACCRUE_SAME_CODE(kDataLoss, DATA_LOSS);
ACCRUE_SAME_CODE(kUnauthenticated, UNAUTHENTICATED);
#undef ACCRUE_SAME_CODE

// Peers refuse more than 8 KiB of metadata: the message, of which a byte may
// take three, and the detail in base64 must fit into that. Both may quote what
// a client sent, at any length.
constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxSubjectBytes = 256;

// The beginning of a text, no character cut in two.
std::string Cut(absl::string_view text, size_t size) {
  if (text.size() <= size) return std::string(text);
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) {
    --size;
  }
  return absl::StrCat(text.substr(0, size), "...");
}

}  // namespace

v1::ErrorDetail::Reason ToApi(Reason reason) {
  switch (reason) {
    case Reason::kUnspecified:
      return v1::ErrorDetail::REASON_UNSPECIFIED;
    case Reason::kInvalidSpec:
      return v1::ErrorDetail::REASON_INVALID_SPEC;
    case Reason::kWrongShape:
      return v1::ErrorDetail::REASON_WRONG_SHAPE;
    case Reason::kNonFinite:
      return v1::ErrorDetail::REASON_NON_FINITE;
    case Reason::kChecksum:
      return v1::ErrorDetail::REASON_CHECKSUM;
    case Reason::kModelUnknown:
      return v1::ErrorDetail::REASON_MODEL_UNKNOWN;
    case Reason::kModelExists:
      return v1::ErrorDetail::REASON_MODEL_EXISTS;
    case Reason::kAlreadyInitialized:
      return v1::ErrorDetail::REASON_ALREADY_INITIALIZED;
    case Reason::kNotInitialized:
      return v1::ErrorDetail::REASON_NOT_INITIALIZED;
    case Reason::kPoisoned:
      return v1::ErrorDetail::REASON_POISONED;
    case Reason::kStale:
      return v1::ErrorDetail::REASON_STALE;
    case Reason::kLineageChanged:
      return v1::ErrorDetail::REASON_LINEAGE_CHANGED;
    case Reason::kFuture:
      return v1::ErrorDetail::REASON_FUTURE;
    case Reason::kSequenceReused:
      return v1::ErrorDetail::REASON_SEQUENCE_REUSED;
    case Reason::kSequenceOld:
      return v1::ErrorDetail::REASON_SEQUENCE_OLD;
    case Reason::kSessionFenced:
      return v1::ErrorDetail::REASON_SESSION_FENCED;
    case Reason::kSessionUnknown:
      return v1::ErrorDetail::REASON_SESSION_UNKNOWN;
    case Reason::kMicroSteps:
      return v1::ErrorDetail::REASON_MICRO_STEPS;
    case Reason::kQuota:
      return v1::ErrorDetail::REASON_QUOTA;
    case Reason::kSuperseded:
      return v1::ErrorDetail::REASON_SUPERSEDED;
    case Reason::kDraining:
      return v1::ErrorDetail::REASON_DRAINING;
    case Reason::kIngestMemory:
      return v1::ErrorDetail::REASON_INGEST_MEMORY;
    case Reason::kLimit:
      return v1::ErrorDetail::REASON_LIMIT;
    case Reason::kSlowPush:
      return v1::ErrorDetail::REASON_SLOW_PUSH;
    case Reason::kSlowReader:
      return v1::ErrorDetail::REASON_SLOW_READER;
    case Reason::kDeviceFault:
      return v1::ErrorDetail::REASON_DEVICE_FAULT;
    case Reason::kPartial:
      return v1::ErrorDetail::REASON_PARTIAL;
    case Reason::kStateMemory:
      return v1::ErrorDetail::REASON_STATE_MEMORY;
    case Reason::kDataConnection:
      return v1::ErrorDetail::REASON_DATA_CONNECTION;
    case Reason::kDeviceMemory:
      return v1::ErrorDetail::REASON_DEVICE_MEMORY;
    case Reason::kJournalFailed:
      return v1::ErrorDetail::REASON_JOURNAL_FAILED;
    case Reason::kDamaged:
      return v1::ErrorDetail::REASON_DAMAGED;
    case Reason::kNoDataDirectory:
      return v1::ErrorDetail::REASON_NO_DATA_DIRECTORY;
    case Reason::kCheckpointUnknown:
      return v1::ErrorDetail::REASON_CHECKPOINT_UNKNOWN;
    case Reason::kCheckpointFailed:
      return v1::ErrorDetail::REASON_CHECKPOINT_FAILED;
  }
  return v1::ErrorDetail::REASON_UNSPECIFIED;
}

v1::ErrorDetail ToApi(const ErrorInfo& info) {
  v1::ErrorDetail detail;
  detail.set_reason(ToApi(info.reason));
  detail.set_current_version(info.current_version);
  detail.set_lineage(info.lineage);
  if (info.retry_after > absl::ZeroDuration()) {
    *detail.mutable_retry_after() = ToApi(info.retry_after);
  }
  detail.set_subject(Cut(info.subject, kMaxSubjectBytes));
  return detail;
}

grpc::Status ToGrpc(const absl::Status& status,
                    grpc::CallbackServerContext* context) {
  if (status.ok()) return grpc::Status::OK;
  context->AddTrailingMetadata(kErrorTrailer,
                               ToApi(GetErrorInfo(status)).SerializeAsString());
  return ToGrpc(status);
}

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      Cut(status.message(), kMaxMessageBytes));
}

}  // namespace accrue
