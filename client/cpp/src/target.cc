#include "client/cpp/src/target.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/base/local_socket.h"

namespace accrue::client::internal {
namespace {

absl::Status NobodyAt(const std::string& target, const char* error) {
  return absl::UnavailableError(
      absl::StrCat("no daemon at ", target, ": ", error));
}

// Closes a socket unless it was handed over.
class OwnedSocket {
 public:
  OwnedSocket(int family)
      : fd_(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}
  OwnedSocket(const OwnedSocket&) = delete;
  ~OwnedSocket() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

// 0, or the errno with which the connection failed; ETIMEDOUT at the deadline.
int ConnectSocket(int fd, const sockaddr* address, socklen_t size,
                  absl::Time deadline) {
  if (connect(fd, address, size) == 0) return 0;
  // EAGAIN: a Unix socket's queue of waiting connections is full; unlike a TCP
  // one it has to be asked again, which the caller's retry does.
  if (errno != EINPROGRESS) return errno;
  while (true) {
    const int64_t left_ms = std::clamp<int64_t>(
        absl::ToInt64Milliseconds(deadline - absl::Now()), 0, 1'000'000);
    pollfd entry = {fd, POLLOUT, 0};
    const int ready = poll(&entry, 1, static_cast<int>(left_ms));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return errno;
    if (ready == 0) {
      if (absl::Now() >= deadline) return ETIMEDOUT;
      continue;
    }
    int error = 0;
    socklen_t error_size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
    return error;
  }
}

}  // namespace

absl::StatusOr<Target> Target::Parse(absl::string_view text) {
  Target target;
  target.text_ = std::string(text);
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    // Both spellings of gRPC's: unix:path and unix:///absolute/path.
    if (absl::StartsWith(rest, "///")) rest.remove_prefix(2);
    target.path_ = std::string(rest);
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return absl::InvalidArgumentError(
          absl::StrCat("target \"", text, "\": a socket's path has 1 to ",
                       sizeof(sockaddr_un::sun_path) - 1, " bytes"));
    }
    return target;
  }
  const size_t colon = rest.rfind(':');
  if (colon != absl::string_view::npos) {
    absl::string_view host = rest.substr(0, colon);
    const absl::string_view port = rest.substr(colon + 1);
    const bool bracketed =
        absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
    int number = 0;
    if (!host.empty() && absl::SimpleAtoi(port, &number) && number > 0 &&
        number < 65536 && (bracketed || !absl::StrContains(host, ":"))) {
      target.host_ = std::string(host);
      target.port_ = std::string(port);
      return target;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("target \"", text,
                   "\": want host:port, [v6 address]:port or unix:/path"));
}

absl::StatusOr<int> Target::Connect(absl::Time deadline) const {
  absl::StatusOr<int> fd =
      is_unix() ? ConnectUnix(deadline) : ConnectTcp(deadline);
  if (fd.ok()) FitLocalSendBuffer(*fd);
  return fd;
}

absl::StatusOr<int> Target::ConnectUnix(absl::Time deadline) const {
  OwnedSocket socket(AF_UNIX);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  const int error =
      ConnectSocket(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                    sizeof(address), deadline);
  if (error != 0) return NobodyAt(text_, std::strerror(error));
  return socket.Release();
}

absl::StatusOr<int> Target::ConnectTcp(absl::Time deadline) const {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  int failure = getaddrinfo(host_.c_str(), port_.c_str(), &hints, &found);
  if (failure != 0) {
    // A machine with nothing but loopback has no address "configured".
    hints.ai_flags = 0;
    failure = getaddrinfo(host_.c_str(), port_.c_str(), &hints, &found);
  }
  if (failure != 0) return NobodyAt(text_, gai_strerror(failure));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found,
                                                             freeaddrinfo);
  return ConnectToAny(found, text_, deadline);
}

absl::StatusOr<int> ConnectToAny(const addrinfo* addresses,
                                 const std::string& target,
                                 absl::Time deadline) {
  int left = 0;
  for (const addrinfo* entry = addresses; entry != nullptr;
       entry = entry->ai_next) {
    ++left;
  }
  int error = EADDRNOTAVAIL;
  for (const addrinfo* entry = addresses; entry != nullptr;
       entry = entry->ai_next, --left) {
    OwnedSocket socket(entry->ai_family);
    if (socket.get() < 0) {
      error = errno;
      continue;
    }
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const absl::Time now = absl::Now();
    error = ConnectSocket(socket.get(), entry->ai_addr, entry->ai_addrlen,
                          now + (deadline - now) / left);
    if (error == 0) return socket.Release();
    if (absl::Now() >= deadline) break;
  }
  return NobodyAt(target, std::strerror(error));
}

}  // namespace accrue::client::internal
