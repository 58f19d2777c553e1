// Error: what a client needs to decide on, beyond a status code.
//
// An error that leaves the daemon is an absl::Status with an ErrorInfo attached
// to it; service/ turns that into the API's ErrorDetail. Clients decide on code
// and reason, never on the message.
//
// Threading. immutable

#ifndef ACCRUE_SERVER_BASE_ERROR_H_
#define ACCRUE_SERVER_BASE_ERROR_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace accrue {

// The usual code of each reason stands behind it.
enum class Reason : int32_t {
  kUnspecified = 0,

  // The request contradicts itself or the model.
  kInvalidSpec,      // INVALID_ARGUMENT
  kInvalidArgument,  // INVALID_ARGUMENT
  kWrongShape,       // INVALID_ARGUMENT
  kTooLarge,         // INVALID_ARGUMENT
  kPartial,          // INVALID_ARGUMENT: the stream ended before its payload
  kChecksum,         // INVALID_ARGUMENT, of stored bytes DATA_LOSS
  kNonFinite,        // INVALID_ARGUMENT

  // The model.
  kModelUnknown,        // NOT_FOUND
  kModelExists,         // ALREADY_EXISTS: the name has another spec
  kAlreadyInitialized,  // ALREADY_EXISTS
  kNotInitialized,      // FAILED_PRECONDITION
  kPoisoned,            // FAILED_PRECONDITION
  kDeviceFault,         // INTERNAL

  // What the gradient was computed from.
  kStale,           // ABORTED
  kLineageChanged,  // ABORTED
  kFuture,          // OUT_OF_RANGE: version or sequence

  // Sessions and cycles.
  kSequenceReused,   // INVALID_ARGUMENT
  kSequenceOld,      // FAILED_PRECONDITION
  kSuperseded,       // ABORTED: a newer stream of the same sequence took over
  kSessionFenced,    // ABORTED
  kSessionUnknown,   // NOT_FOUND
  kTooManySessions,  // RESOURCE_EXHAUSTED
  kMicroSteps,       // ABORTED
  kQuota,            // ABORTED

  // The daemon.
  kDraining,        // UNAVAILABLE
  kJournalFailed,   // UNAVAILABLE
  kBudget,          // RESOURCE_EXHAUSTED
  kQueueFull,       // RESOURCE_EXHAUSTED
  kTooManyStreams,  // RESOURCE_EXHAUSTED
  kSlowPush,        // DEADLINE_EXCEEDED
  kSlowReader,      // ABORTED
};

// "NON_FINITE": the reason's name in the API, less the enum's prefix.
absl::string_view ReasonName(Reason reason);

struct ErrorInfo {
  Reason reason = Reason::kUnspecified;
  // Where the model is now, so that a worker knows what to pull.
  int64_t current_version = 0;
  std::string lineage;
  // When to try again; zero leaves it to the client.
  absl::Duration retry_after;
  // The model, tensor, session or flag at fault.
  std::string subject;
};

// An error of `code`, which must not be kOk. The message says what, which,
// expected, got.
absl::Status MakeError(absl::StatusCode code, const ErrorInfo& info,
                       absl::string_view message);

// The same with nothing but a reason to tell.
absl::Status MakeError(absl::StatusCode code, Reason reason,
                       absl::string_view message);

// The info attached by MakeError; reason kUnspecified where there is none.
ErrorInfo GetErrorInfo(const absl::Status& status);

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_ERROR_H_
