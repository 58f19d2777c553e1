// UploadCall: a Push or InitializeModel call, as a thin adapter between gRPC's
// raw stream and ingest.
//
// Memory.    owns itself until gRPC is done with it
// Threading. gRPC's rules for reactors

#ifndef ACCRUE_SERVER_SERVICE_UPLOAD_CALL_H_
#define ACCRUE_SERVER_SERVICE_UPLOAD_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/service/call_environment.h"

namespace accrue {

using UploadReactor = grpc::ServerReadReactor<grpc::ByteBuffer>;

UploadReactor* NewPushCall(const CallEnvironment& environment,
                           grpc::CallbackServerContext* context,
                           grpc::ByteBuffer* response);

UploadReactor* NewInitializeCall(const CallEnvironment& environment,
                                 grpc::CallbackServerContext* context,
                                 grpc::ByteBuffer* response);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_UPLOAD_CALL_H_
