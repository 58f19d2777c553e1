// Connection: one connected socket, with the gRPC channel that speaks over it.
//
// The socket is ours, not gRPC's: a transport write that blocks outlives
// deadlines and cancellations, and only shutdown(2) ends it at once and makes
// gRPC let go of the memory that it was to send.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_CONNECTION_H_
#define ACCRUE_CLIENT_CPP_SRC_CONNECTION_H_

#include <atomic>
#include <memory>

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "client/cpp/src/target.h"

namespace accrue::client::internal {

class Connection {
 public:
  // UNAVAILABLE: nobody answers by the deadline.
  static absl::StatusOr<std::shared_ptr<Connection>> Open(
      const Target& target, const ClientOptions& options, absl::Time deadline);

  ~Connection();
  Connection(const Connection&) = delete;

  grpc::GenericStub& stub() { return stub_; }

  // New calls shall not use it any more; those in flight go on.
  void Retire() { retired_ = true; }

  // Ends it now: every call on it fails, and gRPC releases what it was sending.
  void Abort();

  // False once it was retired or aborted, or its peer has hung up.
  bool usable() const;

 private:
  Connection(int fd, std::shared_ptr<grpc::Channel> channel);

  const int fd_;  // our duplicate of the descriptor that the channel owns
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
  std::atomic<bool> retired_ = false;
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CONNECTION_H_
