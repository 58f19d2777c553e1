// Connections: the sockets that the daemon accepted, so that a stalled one can
// be ended.
//
// gRPC, or a data connection, owns each socket; its descriptor's duplicate is
// kept here. A write that is blocked in the transport outlives deadlines and
// cancellation, and holds on to the bytes it sends; shutdown(2) is what ends
// it.
//
// Threading. safe.

#ifndef ACCRUE_SERVER_SERVICE_CONNECTIONS_H_
#define ACCRUE_SERVER_SERVICE_CONNECTIONS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/service/socket_address.h"

namespace accrue {

// Who is at a socket's other end: "10.0.0.7:51234", "[::1]:51234",
// "unix:uid=1000"; "gone" if it has hung up.
std::string PeerOf(int fd);
// The same, of a socket that was accepted from `address`, whether or not it has
// hung up.
std::string NameOfPeer(int fd, const SocketAddress& address);

// One accepted socket, by a duplicate of its descriptor.
class Connection {
 public:
  Connection(int fd, int duplicate, std::string peer)
      : fd_(fd), duplicate_(duplicate), peer_(std::move(peer)) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Ends it in both directions, unsent bytes and all. gRPC then sees an error,
  // fails every call on it and lets their bytes go.
  void Shutdown() const;

  int fd() const { return fd_; }
  int duplicate() const { return duplicate_; }
  // NameOfPeer of its socket.
  const std::string& peer() const { return peer_; }

 private:
  const int fd_;  // the owner's
  const int duplicate_;
  const std::string peer_;
};

class Connections {
 public:
  // Of a socket that is about to be handed over, and who is at its other end.
  // RESOURCE_EXHAUSTED: no descriptor is left.
  absl::StatusOr<std::shared_ptr<const Connection>> Add(int fd,
                                                        std::string peer);

  // The socket of a `duplicate` is closed.
  void Remove(int duplicate);

  // The connection of a call, by ServerContext::peer(); null if it is closed or
  // not one of ours. Without TLS gRPC names it by its descriptor ("fd:17"):
  // exact as long as the call lives, since a call keeps its transport, and that
  // its descriptor, so the number cannot come again. With TLS by the other
  // end's address ("ipv4:10.0.0.7:51234"): null also if two connections have
  // that.
  std::shared_ptr<const Connection> Find(const std::string& peer) const;
  // What a call's other end is called for people: its Connection's peer(), of a
  // connection that is closed too, until its descriptor is another's.
  std::string NameOf(const std::string& peer) const;

  void ShutdownAll() const;
  int64_t count() const;

 private:
  std::shared_ptr<const Connection> FindByAddress(const std::string& peer) const
      ACCRUE_REQUIRES(mutex_);

  using Map = absl::flat_hash_map<int, std::shared_ptr<const Connection>>;

  mutable Mutex mutex_;
  Map by_fd_ ACCRUE_GUARDED_BY(mutex_);
  Map by_duplicate_ ACCRUE_GUARDED_BY(mutex_);
  // Of the last connection on each descriptor: who hangs up before its call
  // begins is named all the same.
  absl::flat_hash_map<int, std::string> peers_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_CONNECTIONS_H_
