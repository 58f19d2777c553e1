#include "tests/faults/proxy.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace accrue::faults {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kMaxRepeated = 1 << 20;
// Of a repetition: until then the daemon may do with it what it likes.
constexpr absl::Duration kRepetitionLife = absl::Milliseconds(50);
constexpr int64_t kMaxDelayMs = 20;

sockaddr_in Address(const std::string& text) {
  const size_t colon = text.rfind(':');
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port =
      htons(static_cast<uint16_t>(std::stoi(text.substr(colon + 1))));
  inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr);
  return address;
}

// -1 if nobody is there.
int Connect(const std::string& upstream) {
  const sockaddr_in address = Address(upstream);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) == 0 ||
      errno == EINPROGRESS) {
    return fd;
  }
  close(fd);
  return -1;
}

void SendAtOnce(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void CloseFd(int fd, bool reset) {
  if (fd < 0) return;
  const linger drop = {1, 0};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
  close(fd);
}

}  // namespace

FaultProxy::FaultProxy(const FaultProxyOptions& options)
    : options_(options), random_(options.seed) {}

std::unique_ptr<FaultProxy> FaultProxy::Start(
    const FaultProxyOptions& options) {
  std::unique_ptr<FaultProxy> proxy(new FaultProxy(options));
  if (!proxy->Listen()) {
    ADD_FAILURE() << "no proxy: " << std::strerror(errno);
    return nullptr;
  }
  proxy->thread_ = std::thread([raw = proxy.get()] { raw->ThreadLoop(); });
  return proxy;
}

FaultProxy::~FaultProxy() {
  if (thread_.joinable()) {
    eventfd_write(stop_, 1);
    thread_.join();
  }
  for (Link& link : links_) Close(link, /*reset=*/true);
  CloseFd(listening_, /*reset=*/false);
  CloseFd(stop_, /*reset=*/false);
}

bool FaultProxy::Listen() {
  stop_ = eventfd(0, EFD_CLOEXEC);
  listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address = Address("127.0.0.1:0");
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listening_, generic, size) != 0 ||
      listen(listening_, SOMAXCONN) != 0 ||
      getsockname(listening_, generic, &size) != 0) {
    return false;
  }
  target_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  return true;
}

void FaultProxy::ThreadLoop() {
  while (true) {
    const absl::Time now = AwaitEvents();
    if (now == absl::InfiniteFuture()) return;
    Accept();
    // One that a repetition adds is at the end, and has its turn too.
    for (Link& link : links_) {
      Move(link, link.up);
      Move(link, link.down);
      const bool done = link.up.ended && link.up.pending.empty() &&
                        link.down.ended && link.down.pending.empty();
      if (!link.over && (done || now >= link.ends_at)) {
        Close(link, /*reset=*/false);
      }
    }
    links_.remove_if([](const Link& link) { return link.over; });
  }
}

// The time it is then; InfiniteFuture: it is to stop.
absl::Time FaultProxy::AwaitEvents() {
  std::vector<pollfd> descriptors = {{stop_, POLLIN, 0},
                                     {listening_, POLLIN, 0}};
  const absl::Time before = absl::Now();
  absl::Time next = absl::InfiniteFuture();
  for (const Link& link : links_) {
    next = std::min(next, link.ends_at);
    for (const Pipe* pipe : {&link.up, &link.down}) {
      if (pipe->held_until > before) {
        next = std::min(next, pipe->held_until);
      } else if (!pipe->pending.empty()) {
        descriptors.push_back({pipe->to, POLLOUT, 0});
      } else if (!pipe->ended) {
        descriptors.push_back({pipe->from, POLLIN, 0});
      }
    }
  }
  int milliseconds = -1;
  if (next != absl::InfiniteFuture()) {
    milliseconds =
        static_cast<int>(absl::ToInt64Milliseconds(next - before)) + 1;
  }
  poll(descriptors.data(), descriptors.size(), milliseconds);
  return descriptors[0].revents != 0 ? absl::InfiniteFuture() : absl::Now();
}

void FaultProxy::Accept() {
  int client = -1;
  while ((client = accept4(listening_, nullptr, nullptr,
                           SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
    const int daemon = Connect(options_.upstream);
    if (daemon < 0) {
      // In order, as proxies do.
      CloseFd(client, /*reset=*/false);
      continue;
    }
    SendAtOnce(client);
    SendAtOnce(daemon);
    Link& link = links_.emplace_back();
    link.up = {.from = client, .to = daemon, .pending = {}};
    link.down = {.from = daemon, .to = client, .pending = {}};
    link.until_fault = BytesToNextFault();
  }
}

void FaultProxy::Move(Link& link, Pipe& pipe) {
  while (!link.over && pipe.held_until <= absl::Now()) {
    if (!Write(pipe)) return Close(link, /*reset=*/true);
    if (!pipe.pending.empty() || pipe.ended) return;
    if (!Read(link, pipe)) return;
  }
}

// False: all that there is has been read.
bool FaultProxy::Read(Link& link, Pipe& pipe) {
  pipe.pending.resize(kReadBytes);
  const ssize_t count = recv(pipe.from, pipe.pending.data(), kReadBytes, 0);
  pipe.pending.resize(static_cast<size_t>(std::max<ssize_t>(0, count)));
  if (count < 0) {
    if (errno != EAGAIN && errno != ENOTCONN) Close(link, /*reset=*/true);
    return false;
  }
  if (count == 0) {
    pipe.ended = true;
    if (pipe.to >= 0) shutdown(pipe.to, SHUT_WR);
    return false;
  }
  if (pipe.to < 0) {  // nobody hears what a repetition is answered
    pipe.pending.clear();
    return true;
  }
  if (&pipe == &link.up && link.sent.size() < kMaxRepeated) {
    link.sent += pipe.pending;
  }
  const double passed = link.until_fault;
  link.until_fault -= static_cast<double>(count);
  if (link.until_fault > 0) return true;
  Befall(link, pipe, static_cast<size_t>(passed));
  link.until_fault = BytesToNextFault();
  return true;
}

// False: its end is gone.
bool FaultProxy::Write(Pipe& pipe) {
  while (!pipe.pending.empty()) {
    const ssize_t count =
        send(pipe.to, pipe.pending.data(), pipe.pending.size(), MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == ENOTCONN;
    pipe.pending.erase(0, static_cast<size_t>(count));
  }
  return true;
}

// After `passed` bytes of what is pending.
void FaultProxy::Befall(Link& link, Pipe& pipe, size_t passed) {
  const size_t fault = random_() % counts_.size();
  ++counts_[fault];
  switch (static_cast<NetworkFault>(fault)) {
    case NetworkFault::kTruncate:
      pipe.pending.resize(passed);
      Write(pipe);
      return Close(link, /*reset=*/false);
    case NetworkFault::kHalfClose:
      pipe.pending.resize(passed);
      Write(pipe);
      pipe.pending.clear();
      pipe.ended = true;
      shutdown(pipe.to, SHUT_WR);
      return;
    case NetworkFault::kDelay:
      pipe.held_until =
          absl::Now() + absl::Milliseconds(1 + random_() % kMaxDelayMs);
      return;
    case NetworkFault::kRepeat:
      return Repeat(link);
    case NetworkFault::kReset:
    case NetworkFault::kCount:
      return Close(link, /*reset=*/true);
  }
}

void FaultProxy::Repeat(const Link& link) {
  const int daemon = Connect(options_.upstream);
  if (daemon < 0) return;
  Link& repetition = links_.emplace_back();
  repetition.up = {.to = daemon, .pending = link.sent, .ended = true};
  repetition.down = {.from = daemon, .pending = {}};
  repetition.ends_at = absl::Now() + kRepetitionLife;
}

void FaultProxy::Close(Link& link, bool reset) {
  if (std::exchange(link.over, true)) return;
  // A repetition has but one descriptor.
  CloseFd(std::max(link.up.from, link.down.to), reset);
  CloseFd(link.down.from, reset);
}

double FaultProxy::BytesToNextFault() {
  return std::exponential_distribution<double>(1.0 /
                                               options_.mean_bytes)(random_);
}

}  // namespace accrue::faults
