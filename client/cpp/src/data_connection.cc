#include "client/cpp/src/data_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/src/random_id.h"
#include "server/base/data_preface.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

// How long a daemon may take to answer the preface. One that is slower than
// that gets its payloads in messages: it has other worries.
constexpr absl::Duration kAnswerTimeout = absl::Seconds(2);

// How long messages serve where there was no data connection to be had.
constexpr std::chrono::minutes kAvoidFor{1};

// How often go_on is asked.
constexpr absl::Duration kAskEvery = absl::Milliseconds(100);

// What one system call may send. On a Unix socket the timeout is one for each
// 32 KiB of it.
constexpr size_t kMostAtOnce = size_t{256} << 10;
constexpr size_t kMostParts = 64;

absl::Status NoneTo(const Target& target) {
  return absl::FailedPreconditionError(
      absl::StrCat("no data connection to ", target.text()));
}

// From here on sends wait, for no longer than kAskEvery.
bool MakeBlocking(int fd) {
  const timeval timeout = absl::ToTimeval(kAskEvery);
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 &&
         setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ==
             0;
}

// Reads the daemon's answer; true: it is the one.
bool AwaitAnswer(int fd, absl::Time deadline) {
  std::array<char, kDataPrefaceAnswer.size()> answer;
  size_t size = 0;
  while (size < answer.size()) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    pollfd entry = {fd, POLLIN, 0};
    const int ready =
        poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t n = recv(fd, answer.data() + size, answer.size() - size, 0);
    if (n <= 0) return false;
    size += static_cast<size_t>(n);
    const auto so_far = absl::string_view(answer.data(), size);
    if (so_far != kDataPrefaceAnswer.substr(0, size)) return false;
  }
  return true;
}

// Walks through a payload's number and bytes.
class Cursor {
 public:
  Cursor(int64_t number, const Payload& payload)
      : number_(MakePayloadNumber(number)) {
    parts_.push_back(absl::MakeConstSpan(
        reinterpret_cast<const std::byte*>(number_.data()), number_.size()));
    parts_.insert(parts_.end(), payload.parts().begin(), payload.parts().end());
  }
  Cursor(const Cursor&) = delete;

  bool done() const { return part_ == parts_.size(); }

  // The next bytes, as many as one system call may send.
  size_t Next(std::array<iovec, kMostParts>& pieces) const {
    size_t count = 0;
    size_t bytes = 0;
    size_t start = start_;
    for (size_t i = part_;
         i < parts_.size() && count < kMostParts && bytes < kMostAtOnce;
         ++i, start = 0) {
      const size_t size =
          std::min(parts_[i].size() - start, kMostAtOnce - bytes);
      // NOLINTNEXTLINE: sendmsg() writes nothing
      pieces[count++] = {const_cast<std::byte*>(parts_[i].data()) + start,
                         size};
      bytes += size;
    }
    return count;
  }

  void Advance(size_t bytes) {
    while (bytes > 0) {
      const size_t size = std::min(parts_[part_].size() - start_, bytes);
      start_ += size;
      bytes -= size;
      if (start_ < parts_[part_].size()) continue;
      ++part_;
      start_ = 0;
    }
  }

 private:
  const std::string number_;
  std::vector<Payload::Part> parts_;  // none empty
  size_t part_ = 0;
  size_t start_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataConnection>> DataConnection::Open(
    const Target& target, absl::Time deadline) {
  // Half the time at most, so that messages can still be sent in the other.
  const absl::Time now = absl::Now();
  deadline = now + std::min((deadline - now) / 2, kAnswerTimeout);
  const absl::StatusOr<int> connected = target.Connect(deadline);
  if (!connected.ok() && absl::Now() < deadline) return connected.status();
  if (!connected.ok()) return NoneTo(target);
  const int fd = *connected;
  std::unique_ptr<DataConnection> connection(
      new DataConnection(fd, RandomId()));
  const std::string preface = MakeDataPreface(connection->id());
  if (send(fd, preface.data(), preface.size(), MSG_NOSIGNAL) ==
          std::ssize(preface) &&
      AwaitAnswer(fd, deadline) && MakeBlocking(fd)) {
    return connection;
  }
  return NoneTo(target);
}

DataConnection::~DataConnection() { close(fd_); }

bool DataConnection::usable() const {
  pollfd entry = {fd_, POLLRDHUP, 0};
  return poll(&entry, 1, 0) == 0;
}

bool DataConnection::Send(const Payload& payload,
                          absl::FunctionRef<bool()> go_on) {
  Cursor cursor(next_payload_++, payload);
  absl::Time ask = absl::Now() + kAskEvery;
  while (!cursor.done()) {
    std::array<iovec, kMostParts> pieces;
    msghdr message = {};
    message.msg_iov = pieces.data();
    message.msg_iovlen = cursor.Next(pieces);
    const ssize_t n = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n > 0) cursor.Advance(static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) break;
    if (absl::Now() < ask) continue;
    if (!cursor.done() && !go_on()) break;
    ask = absl::Now() + kAskEvery;
  }
  if (!cursor.done()) shutdown(fd_, SHUT_RDWR);
  return cursor.done();
}

DataConnection* DataRoute::Get(const Target& target, int64_t payload_bytes,
                               absl::Time deadline) {
  if (payload_bytes < min_bytes_ || payload_bytes == 0) return nullptr;
  if (connection_ != nullptr && connection_->usable()) {
    return connection_.get();
  }
  connection_ = nullptr;
  if (std::chrono::steady_clock::now() < avoided_until_) return nullptr;
  auto opened = DataConnection::Open(target, deadline);
  if (opened.ok()) {
    connection_ = *std::move(opened);
  } else if (absl::IsFailedPrecondition(opened.status())) {
    Avoid();
  }
  return connection_.get();
}

void DataRoute::Replace() {
  Drop();
  if (std::exchange(replaced_, true)) Avoid();
}

void DataRoute::Avoid() {
  replaced_ = false;
  avoided_until_ = std::chrono::steady_clock::now() + kAvoidFor;
}

}  // namespace accrue::client::internal
