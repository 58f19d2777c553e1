// UnaryCall: a call of one request and one response, answered exactly once, now
// or later, on any thread.
//
// Threading. safe, but for Finish being called once

#ifndef ACCRUE_SERVER_SERVICE_UNARY_CALL_H_
#define ACCRUE_SERVER_SERVICE_UNARY_CALL_H_

#include <functional>
#include <memory>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "server/service/call_environment.h"

namespace accrue {

class UnaryCall {
 public:
  static std::shared_ptr<UnaryCall> New(const CallEnvironment& environment,
                                        grpc::CallbackServerContext* context) {
    return std::make_shared<UnaryCall>(environment, context);
  }
  UnaryCall(const CallEnvironment& environment,
            grpc::CallbackServerContext* context);

  // What the service's method returns.
  grpc::ServerUnaryReactor* reactor() const { return reactor_; }

  // Request and response are gone afterwards.
  void Finish(const absl::Status& status);

  // Answers with what `work` returns; it runs on the pool, so that no reaction
  // takes long.
  static grpc::ServerUnaryReactor* OnPool(const CallEnvironment& environment,
                                          grpc::CallbackServerContext* context,
                                          std::function<absl::Status()> work);

 private:
  grpc::CallbackServerContext* const context_;
  grpc::ServerUnaryReactor* const reactor_;
  const LiveCalls::Entry entry_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_UNARY_CALL_H_
