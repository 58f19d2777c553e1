#include "server/service/connections.h"

#include <fcntl.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

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
  const auto added = connections.Add(a.ends[0]);
  ASSERT_TRUE(added.ok()) << added.status();
  ASSERT_TRUE(connections.Add(b.ends[0]).ok());
  EXPECT_EQ(connections.count(), 2);
  EXPECT_EQ(connections.Find(a.peer()), *added);
  EXPECT_NE(connections.Find(b.peer()), *added);
  EXPECT_EQ(connections.Find("fd:"), nullptr);
  EXPECT_EQ(connections.Find("fd:99999"), nullptr);
  EXPECT_EQ(connections.Find("ipv4:127.0.0.1:80"), nullptr);
}

TEST(ConnectionsTest, ShutdownEndsTheSocketThatAnotherDescriptorHolds) {
  Connections connections;
  const SocketPair pair;
  ASSERT_TRUE(connections.Add(pair.ends[0]).ok());
  connections.Find(pair.peer())->Shutdown();
  char byte;
  EXPECT_EQ(read(pair.ends[1], &byte, 1), 0);
  EXPECT_EQ(send(pair.ends[0], "x", 1, MSG_NOSIGNAL), -1);
}

TEST(ConnectionsTest, RemovingClosesTheDuplicateOnceNobodyHoldsIt) {
  Connections connections;
  const SocketPair pair;
  auto held = *connections.Add(pair.ends[0]);
  const int duplicate = held->duplicate();
  connections.Remove(duplicate);
  EXPECT_EQ(connections.count(), 0);
  EXPECT_EQ(connections.Find(pair.peer()), nullptr);
  EXPECT_NE(fcntl(duplicate, F_GETFD), -1);
  held.reset();
  EXPECT_EQ(fcntl(duplicate, F_GETFD), -1);
}

TEST(ConnectionsTest, AReusedNumberNamesTheNewerConnection) {
  Connections connections;
  const SocketPair pair;
  const auto older = *connections.Add(pair.ends[0]);
  const auto newer = *connections.Add(pair.ends[0]);
  EXPECT_EQ(connections.Find(pair.peer()), newer);
  connections.Remove(older->duplicate());
  EXPECT_EQ(connections.Find(pair.peer()), newer);
  connections.Remove(newer->duplicate());
  EXPECT_EQ(connections.Find(pair.peer()), nullptr);
}

}  // namespace
}  // namespace accrue
