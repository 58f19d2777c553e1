#include "server/service/listener.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/local_socket.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

// How long accepting rests when there is no descriptor left.
constexpr int kPauseMilliseconds = 100;

// How often silent connections are looked at.
constexpr int kLookMilliseconds = 1000;

absl::Status SystemError(const SocketAddress& address, const char* what) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot listen on ", address.ToString(), ": ", what, ": ",
                   std::strerror(errno)));
}

bool IsListening(const SocketAddress& address) {
  const int fd = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected = connect(fd, address.address(), address.size()) == 0;
  close(fd);
  return connected;
}

// A daemon that was killed leaves its socket file behind.
absl::Status RemoveStaleSocket(const std::string& path,
                               const SocketAddress& address) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen on ", path, ": a file that is no socket is there"));
  }
  if (IsListening(address)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen on ", path, ": another process listens there"));
  }
  unlink(path.c_str());
  return absl::OkStatus();
}

void SetOption(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof(value));
}

}  // namespace

Listener::Listener(const ListenerOptions& options, Connections* connections)
    : options_(options), connections_(connections) {}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(
    const ListenerOptions& options, Connections* connections) {
  std::unique_ptr<Listener> listener(new Listener(options, connections));
  ACCRUE_RETURN_IF_ERROR(listener->Init());
  return listener;
}

Listener::~Listener() {
  Stop();
  if (epoll_ >= 0) close(epoll_);
  if (stop_event_ >= 0) close(stop_event_);
}

absl::Status Listener::Init() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (epoll_ < 0 || stop_event_ < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no descriptor to listen with: ", std::strerror(errno)));
  }
  epoll_event event{.events = EPOLLIN, .data = {.fd = stop_event_}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_event_, &event);

  for (const std::string& text : options_.tcp) {
    ACCRUE_ASSIGN_OR_RETURN(const SocketAddress address,
                            SocketAddress::FromHostPort(text));
    if (options_.local_only && !options_.tls) {
      ACCRUE_RETURN_IF_ERROR(CheckIsLocal(address,
                                          absl::StrCat("--listen=", text),
                                          "--tls_cert and --tls_key, or "));
    }
    ACCRUE_RETURN_IF_ERROR(Bind(address));
  }
  if (options_.unix_path.empty()) return absl::OkStatus();
  ACCRUE_ASSIGN_OR_RETURN(const SocketAddress address,
                          SocketAddress::FromUnixPath(options_.unix_path));
  ACCRUE_RETURN_IF_ERROR(RemoveStaleSocket(options_.unix_path, address));
  return Bind(address);
}

absl::Status Listener::Bind(const SocketAddress& address) {
  const int fd =
      socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return SystemError(address, "socket");
  listening_.push_back(fd);
  if (address.family() != AF_UNIX) {
    SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  }
  if (address.family() == AF_INET6) SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (bind(fd, address.address(), address.size()) != 0) {
    return SystemError(address, "bind");
  }
  if (address.family() == AF_UNIX) {
    owns_unix_path_ = true;
    // Before listen(): nobody can connect in between.
    if (chmod(options_.unix_path.c_str(),
              static_cast<mode_t>(options_.unix_mode)) != 0) {
      return SystemError(address, "chmod");
    }
  }
  if (listen(fd, SOMAXCONN) != 0) return SystemError(address, "listen");
  ACCRUE_ASSIGN_OR_RETURN(SocketAddress bound, SocketAddress::OfSocket(fd));
  addresses_.push_back(bound);
  return absl::OkStatus();
}

void Listener::Start(Adopt adopt) {
  adopt_ = std::move(adopt);
  for (const int fd : listening_) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  thread_ = std::thread([this] { ThreadLoop(); });
}

void Listener::Stop() {
  if (thread_.joinable()) {
    eventfd_write(stop_event_, 1);
    thread_.join();
  }
  for (const auto& [duplicate, silent] : std::exchange(silent_, {})) {
    connections_->Remove(duplicate);
    close(silent.fd);
  }
  for (const int fd : std::exchange(listening_, {})) close(fd);
  if (std::exchange(owns_unix_path_, false)) {
    unlink(options_.unix_path.c_str());
  }
}

void Listener::ThreadLoop() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int timeout = paused_           ? kPauseMilliseconds
                        : silent_.empty() ? -1
                                          : kLookMilliseconds;
    const int count = epoll_wait(epoll_, events.data(), events.size(), timeout);
    if (count == 0 && paused_) Listen(true);
    HangUpOverdue();
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == stop_event_) return;
      if (std::find(listening_.begin(), listening_.end(), fd) !=
          listening_.end()) {
        AcceptAll(fd);
      } else if (silent_.contains(fd)) {
        HandOver(fd);
      } else {
        // A connection's duplicate: the only events it has left are errors and
        // hang-ups. Taken out by hand, since a call may hold it open.
        epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
        connections_->Remove(fd);
      }
    }
  }
}

void Listener::Listen(bool on) {
  paused_ = !on;
  for (const int fd : listening_) {
    epoll_event event{.events = on ? EPOLLIN : 0U, .data = {.fd = fd}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
  }
}

void Listener::AcceptAll(int listening_fd) {
  const auto address = SocketAddress::OfSocket(listening_fd);
  const bool tls = options_.tls && address.ok() && address->family() != AF_UNIX;
  while (true) {
    SocketAddress peer;
    const int fd = SocketAddress::Accept(listening_fd,
                                         SOCK_NONBLOCK | SOCK_CLOEXEC, &peer);
    if (fd >= 0) {
      if (Accept(fd, NameOfPeer(fd, peer), tls)) continue;
      close(fd);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) {
      continue;  // this connection failed; the next may not
    }
    ACCRUE_LOG(warn, "cannot accept, {} connections are open: {}",
               connections_->count(), std::strerror(errno));
    return Listen(false);
  }
}

// False: no descriptor is left for its duplicate.
bool Listener::Accept(int fd, std::string peer, bool tls) {
  const auto added = connections_->Add(fd, std::move(peer));
  if (!added.ok()) return false;
  const int duplicate = (*added)->duplicate();
  // Both fail on a Unix socket, which needs neither.
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(
      fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
      static_cast<int>(absl::ToInt64Milliseconds(options_.tcp_user_timeout)));
  FitLocalSendBuffer(fd);
  silent_[duplicate] = {.fd = fd,
                        .tls = tls,
                        .deadline = absl::Now() + options_.first_byte_timeout};
  epoll_event event{.events = EPOLLIN, .data = {.fd = duplicate}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, duplicate, &event);
  return true;
}

void Listener::HandOver(int duplicate) {
  const auto [fd, tls, deadline] = silent_.at(duplicate);
  char first_byte = 0;
  const ssize_t n = recv(fd, &first_byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return HangUp(duplicate);
  silent_.erase(duplicate);
  // Errors and hang-ups are reported unasked.
  epoll_event event{.events = 0, .data = {.fd = duplicate}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, duplicate, &event);
  adopt_(fd, first_byte, tls);
}

void Listener::HangUp(int duplicate) {
  const int fd = silent_.at(duplicate).fd;
  silent_.erase(duplicate);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, duplicate, nullptr);
  connections_->Remove(duplicate);
  close(fd);
}

void Listener::HangUpOverdue() {
  const absl::Time now = absl::Now();
  if (silent_.empty() || now < next_look_) return;
  next_look_ = now + absl::Milliseconds(kLookMilliseconds);
  std::vector<int> overdue;
  for (const auto& [duplicate, silent] : silent_) {
    if (now >= silent.deadline) overdue.push_back(duplicate);
  }
  for (const int duplicate : overdue) HangUp(duplicate);
}

}  // namespace accrue
