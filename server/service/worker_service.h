// WorkerService: sessions, pushes, pulls and notices.
//
// Threading. gRPC's reactions: nothing here waits or runs long

#ifndef ACCRUE_SERVER_SERVICE_WORKER_SERVICE_H_
#define ACCRUE_SERVER_SERVICE_WORKER_SERVICE_H_

#include "accrue/v1/worker_service.grpc.pb.h"
#include "server/service/call_environment.h"
#include "server/service/pull_call.h"
#include "server/service/upload_call.h"
#include "server/service/watch_call.h"

namespace accrue {

// Push and Pull are raw, so that payloads are not copied into messages.
using WorkerServiceBase = v1::WorkerService::WithRawCallbackMethod_Push<
    v1::WorkerService::WithRawCallbackMethod_Pull<
        v1::WorkerService::WithCallbackMethod_OpenSession<
            v1::WorkerService::WithCallbackMethod_Watch<
                v1::WorkerService::WithCallbackMethod_CloseSession<
                    v1::WorkerService::Service>>>>>;

class WorkerService final : public WorkerServiceBase {
 public:
  explicit WorkerService(const CallEnvironment& environment)
      : environment_(environment) {}

  grpc::ServerUnaryReactor* OpenSession(
      grpc::CallbackServerContext* context,
      const v1::OpenSessionRequest* request,
      v1::OpenSessionResponse* response) override;
  UploadReactor* Push(grpc::CallbackServerContext* context,
                      grpc::ByteBuffer* response) override;
  PullReactor* Pull(grpc::CallbackServerContext* context,
                    const grpc::ByteBuffer* request) override;
  WatchReactor* Watch(grpc::CallbackServerContext* context,
                      const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* CloseSession(
      grpc::CallbackServerContext* context,
      const v1::CloseSessionRequest* request,
      v1::CloseSessionResponse* response) override;

 private:
  const CallEnvironment& environment_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_WORKER_SERVICE_H_
