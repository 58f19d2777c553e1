#include "tests/service/relay.h"

#include <array>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "server/service/socket_address.h"

namespace accrue {
namespace {

// Passes on what is there. False at the end.
bool Pass(int from, int to) {
  std::array<char, 65536> bytes;
  const ssize_t count = recv(from, bytes.data(), bytes.size(), 0);
  for (ssize_t sent = 0; sent < count;) {
    const ssize_t n = send(to, bytes.data() + sent,
                           static_cast<size_t>(count - sent), MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += n;
  }
  return count > 0;
}

}  // namespace

Relay::Relay(const std::string& target) : target_(target) {
  const auto any = SocketAddress::FromHostPort("127.0.0.1:0");
  listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(listening_, any->address(), any->size()), 0);
  EXPECT_EQ(listen(listening_, 1), 0);
  address_ = SocketAddress::OfSocket(listening_)->ToString();
  wake_ = eventfd(0, EFD_CLOEXEC);
  ended_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { ThreadLoop(); });
}

Relay::~Relay() {
  eventfd_write(wake_, 1);
  shutdown(listening_, SHUT_RDWR);
  thread_.join();
  for (const int fd : {listening_, wake_, ended_}) close(fd);
}

void Relay::AwaitServersEnd() {
  eventfd_t value = 0;
  eventfd_read(ended_, &value);
}

void Relay::ThreadLoop() {
  const int client = accept(listening_, nullptr, nullptr);
  if (client < 0) return;
  const auto address = SocketAddress::FromHostPort(target_);
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(server, address->address(), address->size()), 0);
  bool server_ended = false;
  while (true) {
    // A hang-up shows even where nothing is asked for.
    const short from_server =
        frozen_ ? static_cast<short>(POLLRDHUP) : static_cast<short>(POLLIN);
    pollfd fds[] = {{wake_, POLLIN, 0},
                    {server_ended ? -1 : server, from_server, 0},
                    {server_ended ? -1 : client, POLLIN, 0}};
    // Bounded, since Freeze() does not wake it.
    if (poll(fds, 3, 10) < 0) break;
    if (fds[0].revents != 0) break;
    if (fds[2].revents != 0 && !Pass(client, server)) break;
    if (fds[1].revents == 0) continue;
    if (frozen_ ? (fds[1].revents & ~POLLIN) != 0 : !Pass(server, client)) {
      server_ended = true;
      eventfd_write(ended_, 1);
    }
  }
  close(client);
  close(server);
}

}  // namespace accrue
