// SocketAddress: where the daemon listens: "host:port" or a Unix socket's path.
//
// Threading. compatible.

#ifndef ACCRUE_SERVER_SERVICE_SOCKET_ADDRESS_H_
#define ACCRUE_SERVER_SERVICE_SOCKET_ADDRESS_H_

#include <string>
#include <sys/socket.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace accrue {

class SocketAddress {
 public:
  // "127.0.0.1:7700", "localhost:0", "[::1]:7700"; of several addresses of a
  // name, the first. May ask a name server, and wait for it.
  // INVALID_ARGUMENT: not of this form; NOT_FOUND: no such host
  static absl::StatusOr<SocketAddress> FromHostPort(const std::string& text);
  // INVALID_ARGUMENT: empty, or longer than the kernel takes
  static absl::StatusOr<SocketAddress> FromUnixPath(const std::string& path);
  // What a bound socket is bound to.
  static absl::StatusOr<SocketAddress> OfSocket(int fd);
  // What a connected socket is connected to.
  static absl::StatusOr<SocketAddress> OfPeer(int fd);
  // accept4, which knows who connected also where they have gone since.
  static int Accept(int listening_fd, int flags, SocketAddress* peer);

  const sockaddr* address() const {
    return reinterpret_cast<const sockaddr*>(&storage_);
  }
  socklen_t size() const { return size_; }
  int family() const { return storage_.ss_family; }

  // Nothing outside this machine can reach it.
  bool IsLocal() const;
  // "127.0.0.1:7700", "[::1]:7700", "unix:/run/accrued.sock": what a gRPC
  // client connects to.
  std::string ToString() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

// INVALID_ARGUMENT: other machines can reach `address`, which `flag`
// ("--listen=0.0.0.0:1") asks for, and what is sent there is not encrypted.
// `instead`: what could be given for that other than --insecure; "" or "X, or
// ".
absl::Status CheckIsLocal(const SocketAddress& address, absl::string_view flag,
                          absl::string_view instead);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_SOCKET_ADDRESS_H_
