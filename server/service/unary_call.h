// UnaryCall: a call of one request and one response, answered exactly once, now
// or later, on any thread.
//
// What its caller may not do, by its role or of the model that the request
// names, has been answered before `work` would run (access.h): the former
// before the request is parsed.
//
// Memory.    request and response are the call's, and last as long as it
// Threading. safe, but for Finish being called once

#ifndef ACCRUE_SERVER_SERVICE_UNARY_CALL_H_
#define ACCRUE_SERVER_SERVICE_UNARY_CALL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/service/call_environment.h"
#include "server/service/limits.h"

namespace accrue {

// What gRPC gives to a service's method.
struct RawCall {
  grpc::CallbackServerContext* context = nullptr;
  const grpc::ByteBuffer* request = nullptr;
  grpc::ByteBuffer* response = nullptr;
  int64_t max_request_bytes = kMaxRequestBytes;
};

// The model that a request is about; nullopt: none, or several.
template <typename Request>
std::optional<absl::string_view> ModelOf(const Request& request) {
  if constexpr (requires { request.model(); }) {
    return request.model();
  } else if constexpr (requires { request.spec(); }) {
    return request.spec().name();
  } else {
    return std::nullopt;
  }
}

class UnaryCall {
 public:
  // work(call, request, response) sees to it that the call is finished, now or
  // later. Returns what the service's method returns.
  template <typename Request, typename Response, typename Work>
  static grpc::ServerUnaryReactor* Begin(const CallEnvironment& environment,
                                         const RawCall& raw, Work work);

  // Answers with what work(request, response) returns; it runs on the pool, so
  // that no reaction takes long.
  template <typename Request, typename Response, typename Work>
  static grpc::ServerUnaryReactor* OnPool(const CallEnvironment& environment,
                                          const RawCall& raw, Work work);

  // For Begin.
  UnaryCall(const CallEnvironment& environment, const RawCall& raw,
            std::unique_ptr<google::protobuf::Message> request,
            std::unique_ptr<google::protobuf::Message> response);

  void Finish(const absl::Status& status);

  // It was cancelled, its deadline passed, or its connection broke: nobody
  // hears the answer. Not after Finish.
  bool caller_is_gone() const { return raw_.context->IsCancelled(); }

 private:
  // Parses the request, if the caller may make such calls.
  absl::Status Read();
  absl::Status CheckModel(std::optional<absl::string_view> model) const;

  const CallEnvironment& environment_;
  const RawCall raw_;
  grpc::ServerUnaryReactor* const reactor_;
  const LiveCalls::Entry entry_;
  const std::unique_ptr<google::protobuf::Message> request_, response_;
};

template <typename Request, typename Response, typename Work>
grpc::ServerUnaryReactor* UnaryCall::Begin(const CallEnvironment& environment,
                                           const RawCall& raw, Work work) {
  auto request_message = std::make_unique<Request>();
  auto response_message = std::make_unique<Response>();
  const Request* const request = request_message.get();
  Response* const response = response_message.get();
  const auto call =
      std::make_shared<UnaryCall>(environment, raw, std::move(request_message),
                                  std::move(response_message));
  // A call that is finished may be gone.
  grpc::ServerUnaryReactor* const reactor = call->reactor_;
  absl::Status status = call->Read();
  if (status.ok()) status = call->CheckModel(ModelOf(*request));
  if (status.ok()) {
    work(call, request, response);
  } else {
    call->Finish(status);
  }
  return reactor;
}

template <typename Request, typename Response, typename Work>
grpc::ServerUnaryReactor* UnaryCall::OnPool(const CallEnvironment& environment,
                                            const RawCall& raw, Work work) {
  return Begin<Request, Response>(
      environment, raw,
      [&](const std::shared_ptr<UnaryCall>& call, const Request* request,
          Response* response) {
        environment.pool->Post(environment.lane, [call, request, response,
                                                  work = std::move(work)] {
          call->Finish(work(request, response));
        });
      });
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_UNARY_CALL_H_
