// UnaryCall: a call of one request and one response, answered exactly once, now
// or later, on any thread.
//
// There is none without saying which model it is about: what its caller may not
// do has been answered before `work` would run (access.h).
//
// Threading. safe, but for Finish being called once

#ifndef ACCRUE_SERVER_SERVICE_UNARY_CALL_H_
#define ACCRUE_SERVER_SERVICE_UNARY_CALL_H_

#include <functional>
#include <memory>
#include <optional>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/service/call_environment.h"

namespace accrue {

class UnaryCall {
 public:
  // `work` sees to it that the call is finished, now or later. Returns what the
  // service's method returns. `model`: nullopt: it is about none, or several.
  static grpc::ServerUnaryReactor* Begin(
      const CallEnvironment& environment, grpc::CallbackServerContext* context,
      std::optional<absl::string_view> model,
      absl::FunctionRef<void(const std::shared_ptr<UnaryCall>&)> work);

  // Answers with what `work` returns; it runs on the pool, so that no reaction
  // takes long.
  static grpc::ServerUnaryReactor* OnPool(
      const CallEnvironment& environment, grpc::CallbackServerContext* context,
      std::optional<absl::string_view> model,
      std::function<absl::Status()> work);

  // For Begin.
  UnaryCall(const CallEnvironment& environment,
            grpc::CallbackServerContext* context);

  // Request and response are gone afterwards.
  void Finish(const absl::Status& status);

 private:
  grpc::CallbackServerContext* const context_;
  grpc::ServerUnaryReactor* const reactor_;
  const LiveCalls::Entry entry_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_UNARY_CALL_H_
