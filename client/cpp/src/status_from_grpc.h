// StatusFromGrpc: what a call ended with, with the daemon's ErrorDetail, and
// what that means for the caller of a call that can be repeated.

#ifndef ACCRUE_CLIENT_CPP_SRC_STATUS_FROM_GRPC_H_
#define ACCRUE_CLIENT_CPP_SRC_STATUS_FROM_GRPC_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace accrue::client::internal {

// The detail becomes a payload that GetErrorDetail() reads. `context` is that
// of a call that has finished.
absl::Status StatusFromGrpc(const grpc::Status& status,
                            const grpc::ClientContext& context);

// A status of this library's own that says the same as a daemon's would, for
// what only a client can see: the answer was cut short, say.
absl::Status CutShort();

// The same error, with its detail, but one to be retried.
absl::Status AsUnavailable(const absl::Status& status);

// The daemon has not said how the call ended: it may or may not have acted.
// Whom it refuses it gives a detail; a call that its token does not allow any
// more it ends without one, however far that has come.
bool OutcomeUnknown(const absl::Status& status);

// The same request may succeed later, unchanged.
bool Retryable(const absl::Status& status);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_STATUS_FROM_GRPC_H_
