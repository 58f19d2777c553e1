// ServerService: what a client may want to know of the server itself.
//
// Threading. gRPC's reactions: nothing here waits or runs long

#ifndef ACCRUE_SERVER_SERVICE_SERVER_SERVICE_H_
#define ACCRUE_SERVER_SERVICE_SERVER_SERVICE_H_

#include <cstdint>

#include "accrue/v1/server_service.grpc.pb.h"
#include "server/service/backend.h"
#include "server/service/call_environment.h"
#include "server/service/device_watch.h"

namespace accrue {

// Raw, as the other services.
class ServerService final
    : public v1::ServerService::WithRawCallbackMethod_GetServerInfo<
          v1::ServerService::Service> {
 public:
  // All outlive it. `devices` watches the backend's GPUs.
  ServerService(const CallEnvironment& environment, const Backend& backend,
                const DeviceWatch& devices, int64_t max_sessions)
      : environment_(environment),
        backend_(backend),
        devices_(devices),
        max_sessions_(max_sessions) {}

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;

 private:
  void Describe(v1::GetServerInfoResponse& response) const;

  const CallEnvironment& environment_;
  const Backend& backend_;
  const DeviceWatch& devices_;
  const int64_t max_sessions_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_SERVER_SERVICE_H_
