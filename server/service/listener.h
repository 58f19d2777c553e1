// Listener: accepts the daemon's connections, on TCP and on a Unix socket.
//
// The sockets are accepted here and not by gRPC, so that each has an entry in
// Connections from its first byte to its last, and so that the first byte may
// tell what speaks on it: gRPC, payloads beside it (base/data_preface.h), or a
// TLS handshake. With TLS all TCP connections have to begin with one; the Unix
// socket has its file's permissions instead.
//
// Order.     one thread of its own; `adopt` is called on it
// Threading. compatible; Start and Stop once each

#ifndef ACCRUE_SERVER_SERVICE_LISTENER_H_
#define ACCRUE_SERVER_SERVICE_LISTENER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/service/connections.h"
#include "server/service/socket_address.h"

namespace accrue {

struct ListenerOptions {
  std::vector<std::string> tcp = {"127.0.0.1:7700"};  // HOST:PORT, 0: any
  // Connections over TCP are to speak TLS.
  bool tls = false;
  // Without TLS, refuse addresses that other machines can reach.
  bool local_only = true;
  std::string unix_path;  // empty: none
  int unix_mode = 0600;
  // Unacknowledged bytes end a TCP connection after this long.
  absl::Duration tcp_user_timeout = absl::Seconds(10);
  // A connection that stays silent is closed.
  absl::Duration first_byte_timeout = absl::Seconds(10);
};

class Listener {
 public:
  // Binds. A stale socket file is replaced; one on which somebody listens is
  // not. Connections wait until Start.
  // INVALID_ARGUMENT: an address is malformed, or refused by local_only
  // FAILED_PRECONDITION: the address is in use or cannot be bound
  static absl::StatusOr<std::unique_ptr<Listener>> Open(
      const ListenerOptions& options, Connections* connections);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Becomes the owner of a descriptor, which does not block, and on which
  // `first_byte` is to be read. `tls`: that shall be a handshake's.
  using Adopt = std::function<void(int fd, char first_byte, bool tls)>;

  // Accepts from now on.
  void Start(Adopt adopt);
  // Closes the sockets that listen, and removes the socket file. Connections
  // stay.
  void Stop();

  // What is listened on, with the ports that the system chose.
  const std::vector<SocketAddress>& addresses() const { return addresses_; }

 private:
  // A connection that has sent nothing yet.
  struct Silent {
    int fd;
    bool tls;
    absl::Time deadline;
  };

  Listener(const ListenerOptions& options, Connections* connections);

  absl::Status Init();
  absl::Status Bind(const SocketAddress& address);
  void ThreadLoop();
  void Listen(bool on);
  void AcceptAll(int listening_fd);
  bool Accept(int fd, std::string peer, bool tls);
  // Of silent connections, by their duplicates.
  void HandOver(int duplicate);
  void HangUp(int duplicate);
  void HangUpOverdue();

  const ListenerOptions options_;
  Connections* const connections_;
  Adopt adopt_;
  std::vector<int> listening_;
  std::vector<SocketAddress> addresses_;
  bool owns_unix_path_ = false;
  // Descriptors ran out: nothing is accepted for a moment.
  bool paused_ = false;
  absl::flat_hash_map<int, Silent> silent_;  // by their duplicates
  absl::Time next_look_;                     // at their deadlines
  int epoll_ = -1;
  int stop_event_ = -1;
  std::thread thread_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_LISTENER_H_
