#include "server/service/listener.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/mutex.h"

namespace accrue {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() {
    char name[] = "/tmp/accrue_listener_XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~ListenerTest() override {
    for (const int fd : adopted_) close(fd);
    std::filesystem::remove_all(directory_);
  }

  static ListenerOptions Tcp(const std::string& address) {
    ListenerOptions options;
    options.tcp = {address};
    return options;
  }

  ListenerOptions Unix() const {
    ListenerOptions options;
    options.tcp.clear();
    options.unix_path = directory_ + "/socket";
    return options;
  }

  absl::StatusOr<std::unique_ptr<Listener>> Open(
      const ListenerOptions& options) {
    return Listener::Open(options, &connections_);
  }

  void Start(Listener& listener) {
    listener.Start([this](int fd, char first_byte, bool) {
      MutexLock lock(&mutex_);
      adopted_.push_back(fd);
      first_bytes_.push_back(first_byte);
      changed_.SignalAll();
    });
  }

  int AwaitAdopted(size_t count) {
    MutexLock lock(&mutex_);
    while (adopted_.size() < count) changed_.Wait(&mutex_);
    return adopted_[count - 1];
  }

  static int Connect(const SocketAddress& address) {
    const int fd = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, address.address(), address.size()), 0);
    return fd;
  }

  std::string directory_;
  Connections connections_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<int> adopted_;
  std::string first_bytes_;
};

TEST_F(ListenerTest, AcceptsOnTcpAndUnixAndNamesWhereItListens) {
  ListenerOptions options = Unix();
  options.tcp = {"127.0.0.1:0", "localhost:0"};
  auto listener = Open(options);
  ASSERT_TRUE(listener.ok()) << listener.status();
  Start(**listener);
  const auto& addresses = (*listener)->addresses();
  ASSERT_EQ(addresses.size(), 3U);
  EXPECT_THAT(addresses[0].ToString(), HasSubstr("127.0.0.1:"));
  EXPECT_NE(addresses[0].ToString(), "127.0.0.1:0");
  EXPECT_EQ(addresses[2].ToString(), "unix:" + directory_ + "/socket");
  size_t count = 0;
  for (const SocketAddress& address : addresses) {
    const int client = Connect(address);
    ASSERT_EQ(write(client, "hello", 5), 5);
    const int served = AwaitAdopted(++count);
    // Non-blocking, so wait for the bytes with a blocking peek.
    fcntl(served, F_SETFL, 0);
    char bytes[5];
    EXPECT_EQ(recv(served, bytes, 5, MSG_WAITALL), 5);
    EXPECT_NE(connections_.Find("fd:" + std::to_string(served)), nullptr);
    close(client);
  }
}

TEST_F(ListenerTest, AConnectionWhoseSocketEndsIsForgotten) {
  auto listener = Open(Unix());
  ASSERT_TRUE(listener.ok()) << listener.status();
  Start(**listener);
  const int client = Connect((*listener)->addresses()[0]);
  ASSERT_EQ(write(client, "x", 1), 1);
  const int served = AwaitAdopted(1);
  shutdown(served, SHUT_RDWR);
  while (connections_.count() > 0) std::this_thread::yield();
  close(client);
}

TEST_F(ListenerTest, TheFirstByteIsToldAndStaysToBeRead) {
  auto listener = Open(Unix());
  ASSERT_TRUE(listener.ok()) << listener.status();
  Start(**listener);
  // One that is silent still does not keep the others waiting.
  const int silent = Connect((*listener)->addresses()[0]);
  const int client = Connect((*listener)->addresses()[0]);
  ASSERT_EQ(write(client, "ACCRUE", 6), 6);
  const int served = AwaitAdopted(1);
  EXPECT_EQ(first_bytes_, "A");
  char bytes[6];
  EXPECT_EQ(recv(served, bytes, 6, 0), 6);
  ASSERT_EQ(write(silent, "PRI", 3), 3);
  AwaitAdopted(2);
  EXPECT_EQ(first_bytes_, "AP");
  close(client);
  close(silent);
}

TEST_F(ListenerTest, AConnectionThatStaysSilentIsClosed) {
  ListenerOptions options = Unix();
  options.first_byte_timeout = absl::Milliseconds(1);
  auto listener = Open(options);
  ASSERT_TRUE(listener.ok()) << listener.status();
  Start(**listener);
  const int client = Connect((*listener)->addresses()[0]);
  char byte;
  EXPECT_EQ(recv(client, &byte, 1, 0), 0);
  while (connections_.count() > 0) std::this_thread::yield();
  EXPECT_EQ(first_bytes_, "");
  close(client);
}

TEST_F(ListenerTest, AConnectionThatLeavesSilentlyIsForgotten) {
  auto listener = Open(Unix());
  ASSERT_TRUE(listener.ok()) << listener.status();
  Start(**listener);
  close(Connect((*listener)->addresses()[0]));
  const int client = Connect((*listener)->addresses()[0]);
  ASSERT_EQ(write(client, "x", 1), 1);
  close(AwaitAdopted(1));
  adopted_.clear();
  while (connections_.count() > 1) std::this_thread::yield();
  EXPECT_EQ(first_bytes_, "x");
  close(client);
}

TEST_F(ListenerTest, OtherMachinesAreShutOutUnlessAskedFor) {
  for (const char* address : {"0.0.0.0:0", "[::]:0"}) {
    const auto refused = Open(Tcp(address));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.status().message()),
                AllOf(HasSubstr("--insecure"), HasSubstr("--tls_cert")));
  }
  ListenerOptions options = Tcp("0.0.0.0:0");
  options.local_only = false;
  EXPECT_TRUE(Open(options).ok());
  options.local_only = true;
  options.tls = true;
  EXPECT_TRUE(Open(options).ok());
}

TEST_F(ListenerTest, MalformedAddressesAreNamed) {
  for (const char* address :
       {"", ":1", "7700", "localhost", "localhost:", "localhost:70000",
        "localhost:-1", "::1:7700", "localhost:http"}) {
    const absl::Status status = Open(Tcp(address)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_THAT(std::string(status.message()), HasSubstr("want HOST:PORT"));
  }
}

TEST_F(ListenerTest, APortInUseIsNamed) {
  const auto first = Open(Tcp("127.0.0.1:0"));
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = (*first)->addresses()[0].ToString();
  const absl::Status status = Open(Tcp(address)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
}

TEST_F(ListenerTest, TheSocketFileIsPrivateAndRemovedAtTheEnd) {
  auto listener = Open(Unix());
  ASSERT_TRUE(listener.ok()) << listener.status();
  struct stat info {};
  ASSERT_EQ(stat(Unix().unix_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  listener->reset();
  EXPECT_NE(stat(Unix().unix_path.c_str(), &info), 0);
}

TEST_F(ListenerTest, AStaleSocketFileIsReplaced) {
  const auto address = SocketAddress::FromUnixPath(Unix().unix_path);
  ASSERT_TRUE(address.ok());
  const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(stale, address->address(), address->size()), 0);
  close(stale);
  EXPECT_TRUE(Open(Unix()).ok());
}

TEST_F(ListenerTest, ALiveSocketFileIsNotReplaced) {
  const auto first = Open(Unix());
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status status = Open(Unix()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another process"));
  close(Connect((*first)->addresses()[0]));
}

TEST_F(ListenerTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(Unix().unix_path) << "precious";
  EXPECT_EQ(Open(Unix()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  std::string content;
  std::ifstream(Unix().unix_path) >> content;
  EXPECT_EQ(content, "precious");
}

TEST_F(ListenerTest, APathThatIsTooLongIsRefused) {
  ListenerOptions options = Unix();
  options.unix_path += std::string(108, 'x');
  EXPECT_EQ(Open(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace accrue
