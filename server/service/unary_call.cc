#include "server/service/unary_call.h"

#include <utility>

#include "server/service/status.h"

namespace accrue {

UnaryCall::UnaryCall(const CallEnvironment& environment,
                     grpc::CallbackServerContext* context)
    : context_(context),
      reactor_(context->DefaultReactor()),
      entry_(environment.calls->Enter()) {}

void UnaryCall::Finish(const absl::Status& status) {
  reactor_->Finish(ToGrpc(status, context_));
}

grpc::ServerUnaryReactor* UnaryCall::OnPool(
    const CallEnvironment& environment, grpc::CallbackServerContext* context,
    std::function<absl::Status()> work) {
  const auto call = New(environment, context);
  environment.pool->Post(environment.lane, [call, work = std::move(work)] {
    call->Finish(work());
  });
  return call->reactor();
}

}  // namespace accrue
