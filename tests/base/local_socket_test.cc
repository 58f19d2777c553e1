#include "server/base/local_socket.h"

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace accrue {
namespace {

// A loopback connection, both ends of it.
class Connection {
 public:
  explicit Connection(int family) {
    const int listener = socket(family, SOCK_STREAM, 0);
    sockaddr_storage address = {};
    address.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) {
      reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr =
          htonl(INADDR_LOOPBACK);
    } else {
      reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_loopback;
    }
    socklen_t size =
        family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    usable_ = bind(listener, generic, size) == 0 && listen(listener, 1) == 0 &&
              getsockname(listener, generic, &size) == 0;
    ends_[0] = socket(family, SOCK_STREAM, 0);
    usable_ = usable_ && connect(ends_[0], generic, size) == 0;
    if (usable_) ends_[1] = accept(listener, nullptr, nullptr);
    close(listener);
  }
  ~Connection() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  Connection(const Connection&) = delete;

  bool usable() const { return usable_; }
  int end(int i) const { return ends_[i]; }

 private:
  int ends_[2] = {-1, -1};
  bool usable_ = false;
};

int SendBytes(int fd) {
  int bytes = 0;
  socklen_t size = sizeof(bytes);
  getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size);
  return bytes;
}

// The kernel answers with twice what it was given, and gives no more than
// net.core.wmem_max.
int Granted(int asked) {
  int pair[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &asked, sizeof(asked));
  const int granted = SendBytes(pair[0]);
  close(pair[0]);
  close(pair[1]);
  return granted;
}

TEST(LocalSocketTest, LoopbackConnectionsAreFitted) {
  for (const int family : {AF_INET, AF_INET6}) {
    const Connection connection(family);
    if (family == AF_INET6 && !connection.usable()) continue;  // no IPv6 here
    ASSERT_TRUE(connection.usable());
    for (const int end : {0, 1}) {
      FitLocalSendBuffer(connection.end(end));
      EXPECT_EQ(SendBytes(connection.end(end)), Granted(kLoopbackSendBytes));
    }
  }
}

TEST(LocalSocketTest, UnixSocketsAreFitted) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  FitLocalSendBuffer(pair[0]);
  EXPECT_EQ(SendBytes(pair[0]), Granted(kUnixSendBytes));
  close(pair[0]);
  close(pair[1]);
}

TEST(LocalSocketTest, WhatIsNotConnectedStaysAsItIs) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int before = SendBytes(fd);
  FitLocalSendBuffer(fd);
  EXPECT_EQ(SendBytes(fd), before);
  close(fd);
}

TEST(LocalSocketTest, OtherMachinesAreNotLocal) {
  sockaddr_storage peer = {};
  peer.ss_family = AF_INET;
  auto& v4 = reinterpret_cast<sockaddr_in&>(peer).sin_addr;
  EXPECT_EQ(inet_pton(AF_INET, "10.1.2.3", &v4), 1);
  EXPECT_FALSE(IsLocalPeer(peer));
  EXPECT_EQ(inet_pton(AF_INET, "127.1.2.3", &v4), 1);
  EXPECT_TRUE(IsLocalPeer(peer));
  peer = {};
  peer.ss_family = AF_INET6;
  auto& v6 = reinterpret_cast<sockaddr_in6&>(peer).sin6_addr;
  EXPECT_EQ(inet_pton(AF_INET6, "2001:db8::1", &v6), 1);
  EXPECT_FALSE(IsLocalPeer(peer));
}

}  // namespace
}  // namespace accrue
