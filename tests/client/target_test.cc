#include "client/cpp/src/target.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace accrue::client::internal {
namespace {

// A listening socket on a port of 127.0.0.1 that the system chooses, and the
// address of it as a lookup returns one.
class Listener {
 public:
  explicit Listener(int backlog)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, address(), sizeof(address_)), 0);
    EXPECT_EQ(listen(fd_, backlog), 0);
    socklen_t size = sizeof(address_);
    EXPECT_EQ(getsockname(fd_, address(), &size), 0);
    entry_.ai_family = AF_INET;
    entry_.ai_addr = address();
    entry_.ai_addrlen = sizeof(address_);
  }
  Listener(const Listener&) = delete;
  ~Listener() { close(fd_); }

  sockaddr* address() { return reinterpret_cast<sockaddr*>(&address_); }
  addrinfo& entry() { return entry_; }

 private:
  const int fd_;
  sockaddr_in address_ = {};
  addrinfo entry_ = {};
};

// A listener that nobody can connect to and that refuses nobody: its queue is
// full.
class BlackHole : public Listener {
 public:
  BlackHole() : Listener(/*backlog=*/0) {
    // The queue has room for one more than the backlog.
    EXPECT_EQ(connect(waiting_, address(), sizeof(sockaddr_in)), 0);
  }
  ~BlackHole() { close(waiting_); }

 private:
  const int waiting_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

TEST(TargetTest, AnAddressThatSwallowsEverythingLeavesTimeForTheNext) {
  BlackHole silent;
  Listener there(/*backlog=*/8);
  silent.entry().ai_next = &there.entry();
  const absl::StatusOr<int> fd = ConnectToAny(&silent.entry(), "two addresses",
                                              absl::Now() + absl::Seconds(2));
  ASSERT_TRUE(fd.ok()) << fd.status();
  sockaddr_in peer = {};
  socklen_t size = sizeof(peer);
  EXPECT_EQ(getpeername(*fd, reinterpret_cast<sockaddr*>(&peer), &size), 0);
  EXPECT_EQ(peer.sin_port,
            reinterpret_cast<sockaddr_in*>(there.address())->sin_port);
  close(*fd);
}

TEST(TargetTest, AllTimeIsUsedBeforeItIsGivenUp) {
  BlackHole first, second;
  first.entry().ai_next = &second.entry();
  const absl::Time start = absl::Now();
  const absl::StatusOr<int> fd = ConnectToAny(&first.entry(), "two addresses",
                                              start + absl::Milliseconds(100));
  EXPECT_EQ(fd.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(100));
}

}  // namespace
}  // namespace accrue::client::internal
