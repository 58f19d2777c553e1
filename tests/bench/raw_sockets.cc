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

// A baseline that cannot be had ends the benchmark.
int Must(int result, const char* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

void ConnectTcp(int& sender, int& receiver) {
  const int listener = Must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  Must(bind(listener, generic, size), "bind");
  Must(listen(listener, 1), "listen");
  Must(getsockname(listener, generic, &size), "getsockname");
  sender = Must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  Must(connect(sender, generic, size), "connect");
  receiver = Must(accept(listener, nullptr, nullptr), "accept");
  close(listener);
  const int on = 1;
  setsockopt(sender, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(receiver, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void ConnectUnix(int& sender, int& receiver) {
  int pair[2];
  Must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
  sender = pair[0];
  receiver = pair[1];
}

void SendAll(int fd, const std::byte* bytes, size_t size) {
  for (size_t sent = 0; sent < size;) {
    sent += static_cast<size_t>(
        Must(static_cast<int>(send(fd, bytes + sent,
                                   std::min<size_t>(size - sent, 1 << 20),
                                   MSG_NOSIGNAL)),
             "send"));
  }
}

void ReceiveAll(int fd, std::byte* bytes, size_t size) {
  for (size_t received = 0; received < size;) {
    received += static_cast<size_t>(Must(
        static_cast<int>(recv(fd, bytes + received,
                              std::min<size_t>(size - received, 1 << 20), 0)),
        "recv"));
  }
}

}  // namespace

RawSockets::RawSockets(Transport transport, int connections,
                       int64_t buffer_bytes)
    : connections_(static_cast<size_t>(connections)) {
  for (Connection& connection : connections_) {
    if (transport == Transport::kTcp) {
      ConnectTcp(connection.sender, connection.receiver);
    } else {
      ConnectUnix(connection.sender, connection.receiver);
    }
    connection.buffer.resize(static_cast<size_t>(buffer_bytes));
  }
}

RawSockets::~RawSockets() {
  for (const Connection& connection : connections_) {
    close(connection.sender);
    close(connection.receiver);
  }
}

void RawSockets::Transfer(const std::vector<const std::byte*>& sources) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < connections_.size(); ++i) {
    Connection& connection = connections_[i];
    threads.emplace_back([&connection, bytes = sources[i]] {
      SendAll(connection.sender, bytes, connection.buffer.size());
      std::byte told;
      ReceiveAll(connection.sender, &told, 1);
    });
    threads.emplace_back([&connection] {
      ReceiveAll(connection.receiver, connection.buffer.data(),
                 connection.buffer.size());
      const std::byte told{1};
      SendAll(connection.receiver, &told, 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace accrue::bench
