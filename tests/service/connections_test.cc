#include "server/service/connections.h"

#include <fcntl.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/service/socket_address.h"

namespace accrue {
namespace {

struct SocketPair {
  SocketPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0); }
  ~SocketPair() {
    close(ends[0]);
    close(ends[1]);
  }
  std::string peer() const { return absl::StrCat("fd:", ends[0]); }
  int ends[2];
};

TEST(ConnectionsTest, ACallsPeerNamesItsConnection) {
  Connections connections;
  const SocketPair a, b;
  const auto added = connections.Add(a.ends[0], PeerOf(a.ends[0]));
  ASSERT_TRUE(added.ok()) << added.status();
  ASSERT_TRUE(connections.Add(b.ends[0], PeerOf(b.ends[0])).ok());
  EXPECT_EQ(connections.count(), 2);
  EXPECT_EQ(connections.Find(a.peer()), *added);
  EXPECT_NE(connections.Find(b.peer()), *added);
  EXPECT_EQ(connections.Find("fd:"), nullptr);
  EXPECT_EQ(connections.Find("fd:99999"), nullptr);
  EXPECT_EQ(connections.Find("ipv4:127.0.0.1:80"), nullptr);
}

// A TCP connection to a port of its own.
struct TcpPair {
  explicit TcpPair(int family) {
    const auto any = SocketAddress::FromHostPort(
        family == AF_INET ? "127.0.0.1:0" : "[::1]:0");
    listening = socket(family, SOCK_STREAM, 0);
    bind(listening, any->address(), any->size());
    listen(listening, 1);
    const auto bound = SocketAddress::OfSocket(listening);
    client = socket(family, SOCK_STREAM, 0);
    connect(client, bound->address(), bound->size());
    server = accept(listening, nullptr, nullptr);
  }
  ~TcpPair() {
    for (const int fd : {listening, client, server}) close(fd);
  }
  // Of the client's end.
  std::string address() const {
    return SocketAddress::OfSocket(client)->ToString();
  }

  int listening, client, server;
};

TEST(ConnectionsTest, AConnectionIsFoundByTheAddressThatGrpcSays) {
  Connections connections;
  const TcpPair v4(AF_INET), v6(AF_INET6);
  const auto first = *connections.Add(v4.server, PeerOf(v4.server));
  const auto second = *connections.Add(v6.server, PeerOf(v6.server));
  EXPECT_EQ(first->peer(), v4.address());
  EXPECT_EQ(connections.Find("ipv4:" + v4.address()), first);
  const std::string port = v6.address().substr(v6.address().rfind(':'));
  EXPECT_EQ(v6.address(), "[::1]" + port);
  EXPECT_EQ(connections.Find("ipv6:%5B::1%5D" + port), second);
  EXPECT_EQ(connections.NameOf("ipv6:%5B::1%5D" + port), v6.address());
  EXPECT_EQ(connections.NameOf("fd:" + std::to_string(v4.server)),
            v4.address());
  // Two that have the same are told apart by nothing.
  const auto again = *connections.Add(v4.server, PeerOf(v4.server));
  EXPECT_EQ(connections.Find("ipv4:" + v4.address()), nullptr);
  EXPECT_NE(again, first);
}

TEST(ConnectionsTest, AnUnixSocketsPeerIsAUser) {
  const SocketPair pair;
  EXPECT_EQ(PeerOf(pair.ends[0]), "unix:uid=" + std::to_string(getuid()));
}

TEST(ConnectionsTest, ShutdownEndsTheSocketThatAnotherDescriptorHolds) {
  Connections connections;
  const SocketPair pair;
  ASSERT_TRUE(connections.Add(pair.ends[0], PeerOf(pair.ends[0])).ok());
  connections.Find(pair.peer())->Shutdown();
  char byte;
  EXPECT_EQ(read(pair.ends[1], &byte, 1), 0);
  EXPECT_EQ(send(pair.ends[0], "x", 1, MSG_NOSIGNAL), -1);
}

TEST(ConnectionsTest, RemovingClosesTheDuplicateOnceNobodyHoldsIt) {
  Connections connections;
  const SocketPair pair;
  auto held = *connections.Add(pair.ends[0], PeerOf(pair.ends[0]));
  const int duplicate = held->duplicate();
  connections.Remove(duplicate);
  EXPECT_EQ(connections.count(), 0);
  EXPECT_EQ(connections.Find(pair.peer()), nullptr);
  EXPECT_NE(fcntl(duplicate, F_GETFD), -1);
  held.reset();
  EXPECT_EQ(fcntl(duplicate, F_GETFD), -1);
}

TEST(ConnectionsTest, WhoHasHungUpKeepsItsNameUntilItsNumberIsAnothers) {
  Connections connections;
  const SocketPair pair;
  const int fd = pair.ends[0];
  connections.Remove((*connections.Add(fd, "10.0.0.7:1"))->duplicate());
  EXPECT_EQ(connections.Find(pair.peer()), nullptr);
  EXPECT_EQ(connections.NameOf(pair.peer()), "10.0.0.7:1");
  ASSERT_TRUE(connections.Add(fd, "10.0.0.8:2").ok());
  EXPECT_EQ(connections.NameOf(pair.peer()), "10.0.0.8:2");
}

TEST(ConnectionsTest, AReusedNumberNamesTheNewerConnection) {
  Connections connections;
  const SocketPair pair;
  const auto older = *connections.Add(pair.ends[0], PeerOf(pair.ends[0]));
  const auto newer = *connections.Add(pair.ends[0], PeerOf(pair.ends[0]));
  EXPECT_EQ(connections.Find(pair.peer()), newer);
  connections.Remove(older->duplicate());
  EXPECT_EQ(connections.Find(pair.peer()), newer);
  connections.Remove(newer->duplicate());
  EXPECT_EQ(connections.Find(pair.peer()), nullptr);
}

}  // namespace
}  // namespace accrue
