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

// Names and numbers are those of the API's ErrorDetail.Reason, where each is
// explained; behind each its code.
enum class Reason : int32_t {
  kUnspecified = 0,         // The code says all there is to say
  kInvalidSpec = 1,         // INVALID_ARGUMENT
  kWrongShape = 2,          // INVALID_ARGUMENT
  kNonFinite = 3,           // INVALID_ARGUMENT
  kChecksum = 4,            // INVALID_ARGUMENT
  kModelUnknown = 5,        // NOT_FOUND
  kModelExists = 6,         // ALREADY_EXISTS: the name has another spec
  kAlreadyInitialized = 7,  // ALREADY_EXISTS
  kNotInitialized = 8,      // FAILED_PRECONDITION
  kPoisoned = 9,            // FAILED_PRECONDITION
  kStale = 10,              // ABORTED
  kLineageChanged = 11,     // ABORTED
  kFuture = 12,             // OUT_OF_RANGE: a version or sequence to come
  kSequenceReused = 13,     // INVALID_ARGUMENT
  kSequenceOld = 14,        // FAILED_PRECONDITION
  kSessionFenced = 15,      // ABORTED
  kSessionUnknown = 16,     // NOT_FOUND
  kMicroSteps = 17,         // ABORTED
  kQuota = 18,              // ABORTED
  kSuperseded = 19,         // ABORTED: by a newer stream of its sequence
  kDraining = 20,           // UNAVAILABLE
  kIngestMemory = 21,       // RESOURCE_EXHAUSTED
  kLimit = 22,              // RESOURCE_EXHAUSTED: streams, sessions, models
  kSlowPush = 23,           // DEADLINE_EXCEEDED
  kSlowReader = 24,         // ABORTED
  kDeviceFault = 25,        // INTERNAL
  kPartial = 26,            // INVALID_ARGUMENT: ended before payload_bytes
  kStateMemory = 27,        // RESOURCE_EXHAUSTED
  kDataConnection = 28,     // UNAVAILABLE: unknown, in use or broken
  kDeviceMemory = 29,       // RESOURCE_EXHAUSTED: a device's, or pinned for it
  kJournalFailed = 30,      // UNAVAILABLE: nothing has changed
  kDamaged = 31,            // DATA_LOSS: stored bytes fail their check
  kNoDataDirectory = 32,    // FAILED_PRECONDITION: --data_dir was not given
  kCheckpointUnknown = 33,  // NOT_FOUND
  kCheckpointFailed = 34,   // UNAVAILABLE: older ones are as before
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
  // The model, tensor, session, device or flag at fault.
  std::string subject;
};

// An error of `code`, which must not be kOk. The message says what, which,
// expected, got.
absl::Status MakeError(absl::StatusCode code, const ErrorInfo& info,
                       absl::string_view message);

// The same with nothing but a reason to tell.
absl::Status MakeError(absl::StatusCode code, Reason reason,
                       absl::string_view message);

// The same error, telling where the model is unless it does already.
absl::Status WithVersion(const absl::Status& status, int64_t version,
                         absl::string_view lineage);

// The info attached by MakeError; reason kUnspecified where there is none.
ErrorInfo GetErrorInfo(const absl::Status& status);

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_ERROR_H_
