#include "server/service/connections.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace accrue {

std::string PeerOf(int fd) {
  const auto address = SocketAddress::OfPeer(fd);
  return address.ok() ? NameOfPeer(fd, *address) : "gone";
}

std::string NameOfPeer(int fd, const SocketAddress& address) {
  if (address.family() != AF_UNIX) return address.ToString();
  // Its address says nothing; the kernel knows who connected.
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "unix";
  return absl::StrCat("unix:uid=", peer.uid);
}

namespace {

// gRPC's "ipv4:10.0.0.7:5" and "ipv6:%5B::1%5D:5" as PeerOf has them.
std::string AddressOf(absl::string_view peer) {
  if (!absl::ConsumePrefix(&peer, "ipv4:")) absl::ConsumePrefix(&peer, "ipv6:");
  return absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
}

// gRPC's "fd:17"; -1: none.
int DescriptorOf(absl::string_view peer) {
  int fd = 0;
  return absl::ConsumePrefix(&peer, "fd:") && absl::SimpleAtoi(peer, &fd) ? fd
                                                                          : -1;
}

}  // namespace

Connection::~Connection() { close(duplicate_); }

void Connection::Shutdown() const { shutdown(duplicate_, SHUT_RDWR); }

absl::StatusOr<std::shared_ptr<const Connection>> Connections::Add(
    int fd, std::string peer) {
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("dup of a connection: ", std::strerror(errno)));
  }
  auto connection =
      std::make_shared<const Connection>(fd, duplicate, std::move(peer));
  MutexLock lock(&mutex_);
  peers_[fd] = connection->peer();
  by_fd_[fd] = connection;
  by_duplicate_[duplicate] = connection;
  return connection;
}

void Connections::Remove(int duplicate) {
  std::shared_ptr<const Connection> removed;  // closed without the lock
  MutexLock lock(&mutex_);
  const auto found = by_duplicate_.find(duplicate);
  if (found == by_duplicate_.end()) return;
  removed = std::move(found->second);
  by_duplicate_.erase(found);
  // Its number may belong to a newer connection by now.
  const auto same_fd = by_fd_.find(removed->fd());
  if (same_fd != by_fd_.end() && same_fd->second == removed) {
    by_fd_.erase(same_fd);
  }
}

std::shared_ptr<const Connection> Connections::Find(
    const std::string& peer) const {
  MutexLock lock(&mutex_);
  if (!absl::StartsWith(peer, "fd:")) return FindByAddress(peer);
  const auto found = by_fd_.find(DescriptorOf(peer));
  return found == by_fd_.end() ? nullptr : found->second;
}

// Seldom asked for, so that they have no map of their own.
std::shared_ptr<const Connection> Connections::FindByAddress(
    const std::string& peer) const {
  const std::string address = AddressOf(peer);
  std::shared_ptr<const Connection> found;
  for (const auto& [duplicate, connection] : by_duplicate_) {
    if (connection->peer() != address) continue;
    if (found != nullptr) return nullptr;
    found = connection;
  }
  return found;
}

std::string Connections::NameOf(const std::string& peer) const {
  if (!absl::StartsWith(peer, "fd:")) return AddressOf(peer);
  MutexLock lock(&mutex_);
  const auto found = peers_.find(DescriptorOf(peer));
  return found == peers_.end() ? peer : found->second;
}

void Connections::ShutdownAll() const {
  MutexLock lock(&mutex_);
  for (const auto& [duplicate, connection] : by_duplicate_) {
    connection->Shutdown();
  }
}

int64_t Connections::count() const {
  MutexLock lock(&mutex_);
  return static_cast<int64_t>(by_duplicate_.size());
}

}  // namespace accrue
