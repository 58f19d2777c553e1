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

// All are raw: payloads are not copied into messages, and nothing is parsed of
// who may not call.
using WorkerServiceBase = v1::WorkerService::WithRawCallbackMethod_Push<
    v1::WorkerService::WithRawCallbackMethod_Pull<
        v1::WorkerService::WithRawCallbackMethod_OpenSession<
            v1::WorkerService::WithRawCallbackMethod_Watch<
                v1::WorkerService::WithRawCallbackMethod_CloseSession<
                    v1::WorkerService::Service>>>>>;

class WorkerService final : public WorkerServiceBase {
 public:
  explicit WorkerService(const CallEnvironment& environment)
      : environment_(environment) {}

  grpc::ServerUnaryReactor* OpenSession(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  UploadReactor* Push(grpc::CallbackServerContext* context,
                      grpc::ByteBuffer* response) override;
  PullReactor* Pull(grpc::CallbackServerContext* context,
                    const grpc::ByteBuffer* request) override;
  WatchReactor* Watch(grpc::CallbackServerContext* context,
                      const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* CloseSession(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;

 private:
  const CallEnvironment& environment_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_WORKER_SERVICE_H_
