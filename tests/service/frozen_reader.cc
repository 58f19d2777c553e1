#include "tests/service/frozen_reader.h"

#include <array>
#include <cstdint>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace accrue {
namespace {

// HTTP/2's frames, as far as one call needs them (RFC 9113).
enum FrameType : char {
  kData = 0,
  kHeaders = 1,
  kSettings = 4,
  kWindowUpdate = 8,
};
constexpr char kEndStream = 1;
constexpr char kEndHeaders = 4;
constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint32_t kLargestWindow = (uint32_t{1} << 31) - 1;
constexpr uint32_t kFirstWindow = 65535;

std::string BigEndian(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) {
    text += static_cast<char>(value >> (8 * i));
  }
  return text;
}

std::string Frame(FrameType type, char flags, uint32_t stream,
                  const std::string& payload) {
  return BigEndian(static_cast<uint32_t>(payload.size()), 3) +
         static_cast<char>(type) + flags + BigEndian(stream, 4) + payload;
}

// HPACK: a literal without indexing, neither name nor value compressed.
std::string Header(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name +
         static_cast<char>(value.size()) + value;
}

std::string PullCall(const v1::PullRequest& request) {
  const std::string message = request.SerializeAsString();
  return kPreface +
         Frame(kSettings, 0, 0,
               BigEndian(4, 2) + BigEndian(kLargestWindow, 4)) +
         Frame(kWindowUpdate, 0, 0,
               BigEndian(kLargestWindow - kFirstWindow, 4)) +
         Frame(kHeaders, kEndHeaders, 1,
               Header(":method", "POST") + Header(":scheme", "http") +
                   Header(":path", "/accrue.v1.WorkerService/Pull") +
                   Header(":authority", "test") +
                   Header("content-type", "application/grpc") +
                   Header("te", "trailers")) +
         Frame(kData, kEndStream, 1,
               BigEndian(0, 1) +
                   BigEndian(static_cast<uint32_t>(message.size()), 4) +
                   message);
}

}  // namespace

FrozenReader::FrozenReader(const SocketAddress& server,
                           const v1::PullRequest& request) {
  socket_ = socket(server.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(socket_, server.address(), server.size()), 0);
  const std::string bytes = PullCall(request);
  EXPECT_EQ(send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

FrozenReader::~FrozenReader() { close(socket_); }

void FrozenReader::ReadToTheEnd() {
  std::array<char, 65536> bytes;
  while (recv(socket_, bytes.data(), bytes.size(), 0) > 0) {
  }
}

}  // namespace accrue
