#include "server/service/socket_address.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

// The parts of "host:port", brackets of an IPv6 host taken off.
bool Split(const std::string& text, std::string* host, std::string* port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  *host = text.substr(0, colon);
  *port = text.substr(colon + 1);
  if (host->front() == '[' && host->back() == ']') {
    *host = host->substr(1, host->size() - 2);
  } else if (host->find(':') != std::string::npos) {
    return false;
  }
  int number = 0;
  return absl::SimpleAtoi(*port, &number) && number >= 0 && number <= 65535;
}

}  // namespace

absl::StatusOr<SocketAddress> SocketAddress::FromHostPort(
    const std::string& text) {
  std::string host, port;
  if (!Split(text, &host, &port)) {
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", text, "\", want HOST:PORT"));
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::NotFoundError(
        absl::StrCat("address \"", text, "\": ", gai_strerror(error)));
  }
  SocketAddress address;
  std::memcpy(&address.storage_, found->ai_addr, found->ai_addrlen);
  address.size_ = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::FromUnixPath(
    const std::string& path) {
  sockaddr_un unix_address{};
  unix_address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(unix_address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("socket path \"", path, "\": ", path.size(),
                     " bytes, want 1 to ", sizeof(unix_address.sun_path) - 1));
  }
  std::memcpy(unix_address.sun_path, path.data(), path.size());
  SocketAddress address;
  std::memcpy(&address.storage_, &unix_address, sizeof(unix_address));
  address.size_ =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::OfSocket(int fd) {
  SocketAddress address;
  address.size_ = sizeof(address.storage_);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage_),
                  &address.size_) != 0) {
    return absl::InternalError(
        absl::StrCat("getsockname: ", std::strerror(errno)));
  }
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::OfPeer(int fd) {
  SocketAddress address;
  address.size_ = sizeof(address.storage_);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage_),
                  &address.size_) != 0) {
    return absl::InternalError(
        absl::StrCat("getpeername: ", std::strerror(errno)));
  }
  return address;
}

int SocketAddress::Accept(int listening_fd, int flags, SocketAddress* peer) {
  peer->size_ = sizeof(peer->storage_);
  return accept4(listening_fd, reinterpret_cast<sockaddr*>(&peer->storage_),
                 &peer->size_, flags);
}

bool SocketAddress::IsLocal() const {
  if (family() == AF_UNIX) return true;
  if (family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage_);
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage_);
  return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

std::string SocketAddress::ToString() const {
  if (family() == AF_UNIX) {
    const auto* path = reinterpret_cast<const sockaddr_un*>(&storage_);
    return absl::StrCat("unix:", path->sun_path);
  }
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(address(), size_, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "unknown";
  }
  return family() == AF_INET6 ? absl::StrCat("[", host, "]:", port)
                              : absl::StrCat(host, ":", port);
}

absl::Status CheckIsLocal(const SocketAddress& address, absl::string_view flag,
                          absl::string_view instead) {
  if (address.IsLocal()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " is reachable from other machines: give ", instead,
      "--insecure to let everybody on the way read and change what is sent"));
}

}  // namespace accrue
