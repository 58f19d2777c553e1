#include "tests/bench/raw_sockets.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace accrue::bench {
namespace {

constexpr size_t kMostAtOnce = size_t{1} << 20;

// A baseline that cannot be had ends the benchmark.
int Must(int result, const char* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

void ConnectTcp(int& sender, int& receiver) {
  const int listener =
      Must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  Must(bind(listener, generic, size), "bind");
  Must(listen(listener, 1), "listen");
  Must(getsockname(listener, generic, &size), "getsockname");
  sender = Must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  Must(connect(sender, generic, size), "connect");
  receiver = Must(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
  close(listener);
  const int on = 1;
  setsockopt(sender, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(receiver, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void ConnectUnix(int& sender, int& receiver) {
  int pair[2];
  Must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
  sender = pair[0];
  receiver = pair[1];
}

// Sends an array and waits until the receiver has it.
void SendArray(int fd, const std::vector<float>& array) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(array.data());
  const size_t size = array.size() * sizeof(float);
  for (size_t sent = 0; sent < size;) {
    sent += static_cast<size_t>(
        Must(static_cast<int>(send(fd, bytes + sent,
                                   std::min(size - sent, kMostAtOnce),
                                   MSG_NOSIGNAL)),
             "send"));
  }
  std::byte told;
  if (recv(fd, &told, 1, 0) != 1) Die("the receiver has gone");
}

void ReceiveArray(int fd, std::vector<float>& array) {
  auto* const bytes = reinterpret_cast<std::byte*>(array.data());
  const size_t size = array.size() * sizeof(float);
  for (size_t received = 0; received < size;) {
    const int n =
        Must(static_cast<int>(recv(fd, bytes + received,
                                   std::min(size - received, kMostAtOnce), 0)),
             "recv");
    if (n == 0) Die("the sender has gone");
    received += static_cast<size_t>(n);
  }
  const std::byte told{1};
  if (send(fd, &told, 1, MSG_NOSIGNAL) != 1) Die("the sender has gone");
}

}  // namespace

RawSockets::RawSockets(Transport transport, RawTask task, int connections,
                       int64_t array_bytes)
    : task_(task),
      sent_(task == RawTask::kReceive ? array_bytes / sizeof(float) : 0, 1e-3f),
      connections_(static_cast<size_t>(connections)) {
  for (Connection& connection : connections_) {
    int theirs = -1;
    if (transport == Transport::kTcp) {
      ConnectTcp(theirs, connection.fd);
    } else {
      ConnectUnix(theirs, connection.fd);
    }
    if (task == RawTask::kSend) {
      connection.array.resize(array_bytes / sizeof(float));
    }
    connection.peer = std::make_unique<PeerProcess>(
        std::vector<std::string>{kRawPeer, std::to_string(array_bytes),
                                 std::to_string(static_cast<int>(task))},
        theirs);
    close(theirs);
  }
}

RawSockets::~RawSockets() {
  for (const Connection& connection : connections_) close(connection.fd);
}

void RawSockets::Transfer() {
  std::vector<std::thread> threads;
  for (Connection& connection : connections_) {
    connection.peer->Start();
    threads.emplace_back([this, &connection] {
      if (task_ == RawTask::kSend) {
        ReceiveArray(connection.fd, connection.array);
      } else {
        SendArray(connection.fd, sent_);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Connection& connection : connections_) connection.peer->Await();
}

int RunRawPeer(const std::vector<std::string>& arguments) {
  if (arguments.size() != 3) Die("raw peer: bad arguments");
  std::vector<float> array(
      std::strtoull(arguments[1].c_str(), nullptr, 10) / sizeof(float), 1e-3f);
  const auto task = static_cast<RawTask>(std::atoi(arguments[2].c_str()));
  return ServeAsPeer([&] {
    if (task == RawTask::kSend) {
      SendArray(kPeerFd, array);
    } else {
      ReceiveArray(kPeerFd, array);
    }
  });
}

}  // namespace accrue::bench
