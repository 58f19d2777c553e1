// GrpcLog: what gRPC itself has to say, in this daemon's log.
//
// Its errors, of which a peer that fails its TLS handshakes makes any number,
// become warnings at a bounded rate.

#ifndef ACCRUE_SERVER_SERVICE_GRPC_LOG_H_
#define ACCRUE_SERVER_SERVICE_GRPC_LOG_H_

namespace accrue {

// From now on, for the whole process; before other threads run.
void TakeGrpcLog();

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_GRPC_LOG_H_
