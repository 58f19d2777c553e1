// Status: how a call's answer leaves the daemon.
//
// Every error carries an ErrorDetail in the trailer "accrue-error-bin"; clients
// decide on its reason and on the code, never on the text. This is the one
// place where an absl::Status becomes a grpc::Status.

#ifndef ACCRUE_SERVER_SERVICE_STATUS_H_
#define ACCRUE_SERVER_SERVICE_STATUS_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "accrue/v1/error.pb.h"
#include "server/base/error.h"

namespace accrue {

inline constexpr char kErrorTrailer[] = "accrue-error-bin";

v1::ErrorDetail::Reason ToApi(Reason reason);
v1::ErrorDetail ToApi(const ErrorInfo& info);

// What to finish a call with. An error's detail is added to the trailers of
// `context`, so it must not have been finished yet.
grpc::Status ToGrpc(const absl::Status& status,
                    grpc::CallbackServerContext* context);

// The same without the detail.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_STATUS_H_
