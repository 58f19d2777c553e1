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

grpc::ServerUnaryReactor* UnaryCall::Begin(
    const CallEnvironment& environment, grpc::CallbackServerContext* context,
    std::optional<absl::string_view> model,
    absl::FunctionRef<void(const std::shared_ptr<UnaryCall>&)> work) {
  const auto call = std::make_shared<UnaryCall>(environment, context);
  grpc::ServerUnaryReactor* const reactor = call->reactor_;
  if (absl::Status access = environment.access->Check(context, model);
      !access.ok()) {
    call->Finish(access);
  } else {
    work(call);
  }
  return reactor;
}

grpc::ServerUnaryReactor* UnaryCall::OnPool(
    const CallEnvironment& environment, grpc::CallbackServerContext* context,
    std::optional<absl::string_view> model,
    std::function<absl::Status()> work) {
  return Begin(environment, context, model, [&](const auto& call) {
    environment.pool->Post(environment.lane, [call, work = std::move(work)] {
      call->Finish(work());
    });
  });
}

}  // namespace accrue
