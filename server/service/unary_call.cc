#include "server/service/unary_call.h"

#include "server/base/status_macros.h"
#include "server/service/message_bytes.h"
#include "server/service/status.h"

namespace accrue {

UnaryCall::UnaryCall(const CallEnvironment& environment, const RawCall& raw,
                     std::unique_ptr<google::protobuf::Message> request,
                     std::unique_ptr<google::protobuf::Message> response)
    : environment_(environment),
      raw_(raw),
      reactor_(raw.context->DefaultReactor()),
      entry_(environment.calls->Enter()),
      request_(std::move(request)),
      response_(std::move(response)) {}

absl::Status UnaryCall::Read() {
  ACCRUE_RETURN_IF_ERROR(CheckModel(std::nullopt));
  return ParseRequest(*raw_.request, *request_, raw_.max_request_bytes);
}

absl::Status UnaryCall::CheckModel(
    std::optional<absl::string_view> model) const {
  return environment_.access->Check(raw_.context, model);
}

void UnaryCall::Finish(const absl::Status& status) {
  if (status.ok()) *raw_.response = Serialize(*response_);
  reactor_->Finish(ToGrpc(status, raw_.context));
}

}  // namespace accrue
