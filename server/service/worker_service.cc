#include "server/service/worker_service.h"

#include <utility>

#include "server/service/convert.h"
#include "server/service/unary_call.h"

namespace accrue {

grpc::ServerUnaryReactor* WorkerService::OpenSession(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::OpenSessionRequest, v1::OpenSessionResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::OpenSessionRequest* request,
          v1::OpenSessionResponse* response) {
        const auto model = environment_.store->Find(request->model());
        if (!model.ok()) return call->Finish(model.status());
        (*model)->OpenSession(
            {.worker = request->worker(),
             .session_id = request->session_id(),
             .opening = request->opening()},
            [call, response](const absl::StatusOr<OpenedSession>& session) {
              if (session.ok()) *response = ToApi(*session);
              call->Finish(session.status());
            });
      });
}

UploadReactor* WorkerService::Push(grpc::CallbackServerContext* context,
                                   grpc::ByteBuffer* response) {
  return NewPushCall(environment_, context, response);
}

PullReactor* WorkerService::Pull(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* request) {
  return PullCall::New(environment_, context, *request);
}

WatchReactor* WorkerService::Watch(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request) {
  return WatchCall::New(environment_, context, *request);
}

grpc::ServerUnaryReactor* WorkerService::CloseSession(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::CloseSessionRequest, v1::CloseSessionResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::CloseSessionRequest* request,
          v1::CloseSessionResponse*) {
        const auto model = environment_.store->Find(request->model());
        if (!model.ok()) return call->Finish(model.status());
        (*model)->CloseSession(
            request->session_id(),
            [call](const absl::Status& status) { call->Finish(status); });
      });
}

}  // namespace accrue
