// ErrorDetail: the machine-readable half of an error, carried by the
// absl::Status that every call of this library returns.
//
//   absl::Status status = model.EndCycle().status();
//   if (GetReason(status) == Reason::kNotInitialized) ...
//
// Errors.    Decide on the code and the reason, never on the message. A status
//            without a detail (Reason::kUnspecified) comes from this library
//            or from the network: UNAVAILABLE: no daemon answered in the time
//            given; DEADLINE_EXCEEDED: the caller's timeout is over;
//            UNAUTHENTICATED: a certificate is not accepted, or (with a detail)
//            a token; PERMISSION_DENIED: the token's role, or models, are
//            others; INVALID_ARGUMENT: the arguments contradict each other.

#ifndef ACCRUE_CLIENT_ERROR_H_
#define ACCRUE_CLIENT_ERROR_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace accrue::client {

// Why, more finely than the status code.
enum class Reason {
  kUnspecified = 0,         // the code says all there is to say
  kInvalidSpec = 1,         // INVALID_ARGUMENT: a spec that cannot be
  kWrongShape = 2,          // INVALID_ARGUMENT: bytes do not match the model
  kNonFinite = 3,           // INVALID_ARGUMENT: NaN, infinity or overflow
  kChecksum = 4,            // INVALID_ARGUMENT: damaged on its way
  kModelUnknown = 5,        // NOT_FOUND
  kModelExists = 6,         // ALREADY_EXISTS: with another spec
  kAlreadyInitialized = 7,  // ALREADY_EXISTS: it has parameters
  kNotInitialized = 8,      // FAILED_PRECONDITION: it has none yet
  kPoisoned = 9,            // FAILED_PRECONDITION: restore it
  kStale = 10,              // ABORTED: pull and recompute
  kLineageChanged = 11,     // ABORTED: pull everything and recompute
  kFuture = 12,             // OUT_OF_RANGE: a version yet to come
  kSequenceReused = 13,     // INVALID_ARGUMENT: two processes, one session
  kSequenceOld = 14,        // FAILED_PRECONDITION: the same
  kSessionFenced = 15,      // ABORTED: another process took the worker's name
  kSessionUnknown = 16,     // NOT_FOUND
  kMicroSteps = 17,         // ABORTED: the cycle has another micro_steps
  kQuota = 18,              // ABORTED: the worker's share of the cycle is used
  kSuperseded = 19,         // ABORTED: a newer attempt replaced this one
  kDraining = 20,           // UNAVAILABLE: the daemon is shutting down
  kIngestMemory = 21,       // RESOURCE_EXHAUSTED: no memory came free in time
  kLimit = 22,              // RESOURCE_EXHAUSTED: too many streams, sessions...
  kSlowPush = 23,           // DEADLINE_EXCEEDED: the sender was too slow
  kSlowReader = 24,         // ABORTED: the reader was too slow
  kDeviceFault = 25,        // INTERNAL: the model is poisoned, or was not made
  kPartial = 26,            // INVALID_ARGUMENT: the payload was cut short
  kStateMemory = 27,        // RESOURCE_EXHAUSTED: the model does not fit
  kDataConnection = 28,     // UNAVAILABLE: a push's data connection is gone
  kDeviceMemory = 29,       // RESOURCE_EXHAUSTED: a device has no memory left
  kJournalFailed = 30,      // UNAVAILABLE: the daemon's disk fails
  kDamaged = 31,            // DATA_LOSS: the daemon's disk has lost bytes
  kNoDataDirectory = 32,    // FAILED_PRECONDITION: the daemon keeps nothing
  kCheckpointUnknown = 33,  // NOT_FOUND
  kCheckpointFailed = 34,   // UNAVAILABLE: not written; older ones are there
};

struct ErrorDetail {
  Reason reason = Reason::kUnspecified;
  // The model's newest version and lineage when it was refused; 0 and empty
  // where there is none.
  int64_t current_version = 0;
  std::string lineage = {};
  // How long the daemon asks to wait before a retry; zero: it does not say.
  absl::Duration retry_after = {};
  // What the error is about: a model, tensor, group, worker, device or flag.
  std::string subject = {};
};

// The detail that a status carries, if it has one.
std::optional<ErrorDetail> GetErrorDetail(const absl::Status& status);

// Its reason; kUnspecified without a detail.
Reason GetReason(const absl::Status& status);

// "NON_FINITE", "STALE", ...; "UNKNOWN" for one that a newer daemon sends.
absl::string_view ReasonName(Reason reason);

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_ERROR_H_
