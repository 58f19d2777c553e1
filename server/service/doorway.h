// Doorway: where an accepted connection goes, by its first byte.
//
//   over TCP with TLS    a handshake: to gRPC; anything else is refused
//   else                 HTTP/2: to gRPC; a data connection's preface: to
//                        DataConnections; a TLS handshake is refused
//
// There are no data connections beside TLS: their payloads would not be
// encrypted. The SDK sends none there, and over Unix sockets, which are never
// TLS, it does.
//
// A client that speaks HTTP/2 without TLS gets a GOAWAY with the reason, which
// gRPC's clients show as UNAVAILABLE; one that begins a TLS handshake where
// there is none, an alert; others are hung up on. The log says so, now and
// then.
//
// Order.     Adopt is the listener's to call
// Threading. compatible

#ifndef ACCRUE_SERVER_SERVICE_DOORWAY_H_
#define ACCRUE_SERVER_SERVICE_DOORWAY_H_

#include <memory>

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/string_view.h"
#include "server/base/telling_rate.h"
#include "server/service/data_connections.h"

namespace accrue {

class Doorway {
 public:
  // All outlive it. `tls_acceptor` is null where there is no TLS.
  Doorway(grpc::Server* server,
          grpc::experimental::ExternalConnectionAcceptor* tls_acceptor,
          DataConnections* data_connections)
      : server_(server),
        tls_acceptor_(tls_acceptor),
        data_connections_(data_connections) {}

  // Becomes the owner of a descriptor that does not block.
  void Adopt(int fd, char first_byte, bool tls);

 private:
  void Refuse(int fd, char first_byte, absl::string_view why);

  grpc::Server* const server_;
  grpc::experimental::ExternalConnectionAcceptor* const tls_acceptor_;
  DataConnections* const data_connections_;
  TellingRate refusals_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_DOORWAY_H_
