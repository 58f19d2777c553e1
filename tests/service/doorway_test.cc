#include "server/service/doorway.h"

#include <array>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

using testing::HasSubstr;

constexpr char kHttp2[] = "PRI * HTTP/2.0\r\n";

// A peer of one that takes TLS alone, and is sent HTTP/2.
class DoorwayTest : public testing::Test {
 protected:
  DoorwayTest() {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()),
              0);
    adopted_ = dup(ends_[1]);
  }
  ~DoorwayTest() override {
    close(ends_[0]);
    close(adopted_);
  }

  void Adopt() { doorway_.Adopt(ends_[1], kHttp2[0], /*tls=*/true); }
  // The peer's, whatever it sends; returns how much it could.
  size_t Send(const std::string& bytes) const {
    const ssize_t sent = send(ends_[0], bytes.data(), bytes.size(), 0);
    return sent < 0 ? 0 : static_cast<size_t>(sent);
  }
  static std::string ReadAll(int fd) {
    std::string all;
    std::array<char, 4096> bytes;
    for (ssize_t n; (n = recv(fd, bytes.data(), bytes.size(), 0)) > 0;) {
      all.append(bytes.data(), static_cast<size_t>(n));
    }
    return all;
  }
  std::string Answer() const { return ReadAll(ends_[0]); }
  std::string Unread() const { return ReadAll(adopted_); }

 private:
  std::array<int, 2> ends_ = {};
  int adopted_ = -1;  // what is adopted, past its closing
  Doorway doorway_{nullptr, nullptr, nullptr};
};

TEST_F(DoorwayTest, WhoIsRefusedHasBeenHeard) {
  Send(kHttp2);
  Adopt();
  EXPECT_EQ(Unread(), "");
  EXPECT_THAT(Answer(), HasSubstr("this address takes TLS alone"));
}

// Whoever sends without end would keep everybody else from being let in.
TEST_F(DoorwayTest, WhoIsRefusedIsNotHeardToTheEnd) {
  size_t sent = 0;
  while (const size_t more = Send(std::string(4096, 'P'))) sent += more;
  ASSERT_GT(sent, 100000U);
  Adopt();
  EXPECT_GT(Unread().size(), 0U);
  EXPECT_THAT(Answer(), HasSubstr("this address takes TLS alone"));
}

}  // namespace
}  // namespace accrue
