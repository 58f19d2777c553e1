// Connection: one connected socket, with the gRPC channel that speaks over it.
//
// The socket is ours, not gRPC's: a transport write that blocks outlives
// deadlines and cancellations, and only shutdown(2) ends it at once and makes
// gRPC let go of the memory that it was to send. With TLS it is gRPC's, which
// takes no connected socket for that, and such a write ends with keepalive.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_CONNECTION_H_
#define ACCRUE_CLIENT_CPP_SRC_CONNECTION_H_

#include <atomic>
#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "client/cpp/src/target.h"

namespace accrue::client::internal {

class Connection {
 public:
  // UNAVAILABLE: nobody answers by the deadline. Otherwise what no other
  // attempt makes good: as Client::Connect has it.
  static absl::StatusOr<std::shared_ptr<Connection>> Open(
      const Target& target, const ClientOptions& options, absl::Time deadline);

  ~Connection();
  Connection(const Connection&) = delete;

  static bool UsesTls(const Target& target, const ClientOptions& options) {
    return options.tls.has_value() && !target.is_unix();
  }

  grpc::GenericStub& stub() { return stub_; }
  // What every call carries as "authorization"; empty: nothing.
  const std::string& authorization() const { return authorization_; }
  // A connection that is made now would carry another one: the file that it
  // came from holds another token.
  bool authorization_is_old() const;

  // New calls shall not use it any more; those in flight go on.
  void Retire() { retired_ = true; }

  // Ends it now: every call on it fails, and gRPC releases what it was sending;
  // with TLS no sooner than keepalive does.
  void Abort();

  // False once it was retired or aborted, or its peer has hung up.
  bool usable() const;

 private:
  Connection(int fd, std::shared_ptr<grpc::Channel> channel,
             const ClientOptions& options, std::string authorization);

  static absl::StatusOr<std::shared_ptr<Connection>> OpenPlain(
      const Target& target, const ClientOptions& options,
      std::string authorization, absl::Time deadline);
  static absl::StatusOr<std::shared_ptr<Connection>> OpenTls(
      const Target& target, const ClientOptions& options,
      std::string authorization, absl::Time deadline);

  // Our duplicate of the descriptor that the channel owns; -1 with TLS.
  const int fd_;
  std::shared_ptr<grpc::Channel> channel_;
  const ClientOptions options_;
  const std::string authorization_;
  grpc::GenericStub stub_;
  std::atomic<bool> retired_ = false;
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CONNECTION_H_
