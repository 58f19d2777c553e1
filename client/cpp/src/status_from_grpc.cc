#include "client/cpp/src/status_from_grpc.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "accrue/error.h"
#include "client/cpp/src/error_payload.h"

namespace accrue::client::internal {
namespace {

constexpr char kDetailTrailer[] = "accrue-error-bin";

#define ACCRUE_SAME_CODE(ours, theirs)                      \
  static_assert(static_cast<int>(absl::StatusCode::ours) == \
                static_cast<int>(grpc::StatusCode::theirs))
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

}  // namespace

absl::Status StatusFromGrpc(const grpc::Status& status,
                            const grpc::ClientContext& context) {
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
  if (result.ok()) return result;
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto detail = trailers.find(kDetailTrailer);
  if (detail != trailers.end()) {
    result.SetPayload(kErrorPayloadUrl,
                      absl::Cord(absl::string_view(detail->second.data(),
                                                   detail->second.size())));
  }
  return result;
}

absl::Status CutShort() {
  return absl::UnavailableError("the answer was cut short");
}

absl::Status AsUnavailable(const absl::Status& status) {
  absl::Status result = absl::UnavailableError(status.message());
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    result.SetPayload(url, payload);
  });
  return result;
}

bool OutcomeUnknown(const absl::Status& status) {
  if (status.GetPayload(kErrorPayloadUrl).has_value()) return false;
  switch (status.code()) {
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

bool Retryable(const absl::Status& status) {
  switch (GetReason(status)) {
    case Reason::kDraining:
    case Reason::kIngestMemory:
    case Reason::kLimit:
    case Reason::kSlowPush:
    case Reason::kSlowReader:
    case Reason::kSuperseded:
      return true;
    default:
      break;
  }
  // CANCELLED: the daemon has reset the stream. No call is cancelled from this
  // side and then retried. ABORTED without a reason: a pull whose reader was
  // too slow to be told that it is.
  return absl::IsUnavailable(status) ||
         (absl::IsAborted(status) &&
          GetReason(status) == Reason::kUnspecified) ||
         (absl::IsCancelled(status) && OutcomeUnknown(status));
}

}  // namespace accrue::client::internal
