#include "tests/e2e/data_socket.h"

#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "server/base/data_preface.h"
#include "tests/service/send_all.h"

namespace accrue {
namespace {

constexpr char kUnix[] = "unix:";
constexpr int kPatienceMs = 60'000;

int Connect(const std::string& target) {
  sockaddr_storage address = {};
  socklen_t size = 0;
  if (target.rfind(kUnix, 0) == 0) {
    auto& local = reinterpret_cast<sockaddr_un&>(address);
    local.sun_family = AF_UNIX;
    target.copy(local.sun_path, sizeof(local.sun_path) - 1, std::strlen(kUnix));
    size = sizeof(local);
  } else {
    auto& remote = reinterpret_cast<sockaddr_in&>(address);
    const size_t colon = target.rfind(':');
    remote.sin_family = AF_INET;
    remote.sin_port =
        htons(static_cast<uint16_t>(std::stoi(target.substr(colon + 1))));
    inet_pton(AF_INET, target.substr(0, colon).c_str(), &remote.sin_addr);
    size = sizeof(remote);
  }
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), size), 0)
      << target << ": " << std::strerror(errno);
  return fd;
}

}  // namespace

DataSocket::DataSocket(const std::string& target) : fd_(Connect(target)) {
  static std::atomic<int> number{0};
  id_ = absl::StrFormat("%032x", ++number);
  EXPECT_TRUE(Send(MakeDataPreface(id_)));
  std::string answer(kDataPrefaceAnswer.size(), '\0');
  EXPECT_EQ(recv(fd_, answer.data(), answer.size(), MSG_WAITALL),
            std::ssize(answer));
  EXPECT_EQ(answer, kDataPrefaceAnswer);
}

bool DataSocket::Send(const std::string& bytes) const {
  return SendAll(fd_, bytes);
}

void DataSocket::HangUp() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

bool DataSocket::Ended(int patience_ms) const {
  pollfd entry = {fd_, POLLRDHUP, 0};
  return poll(&entry, 1, patience_ms) != 0;
}

void DataSocket::AwaitEnd() const { EXPECT_TRUE(Ended(kPatienceMs)); }

Wire::HalfPush DataSocket::Begin(Wire& wire, v1::PushHeader header) {
  header.set_data_connection(id_);
  header.set_data_payload(++payload_);
  Send(MakePayloadNumber(payload_));
  return Wire::HalfPush(wire, header, "", 0);
}

Ending DataSocket::Push(Wire& wire, const v1::PushHeader& header,
                        const std::string& payload,
                        v1::PushResponse* response) {
  Wire::HalfPush push = Begin(wire, header);
  push.FinishSending();
  Send(payload);  // it may be refused before it is whole
  return push.Finish(response);
}

}  // namespace accrue
