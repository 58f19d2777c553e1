// Data connections over socket pairs, with streams that only remember.
#ifndef ACCRUE_TESTS_SERVICE_DATA_CONNECTIONS_FIXTURE_H_
#define ACCRUE_TESTS_SERVICE_DATA_CONNECTIONS_FIXTURE_H_

#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <poll.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/base/byte_chain.h"
#include "server/base/data_preface.h"
#include "server/base/mutex.h"
#include "server/base/timer_queue.h"
#include "server/service/data_connections.h"
#include "tests/service/send_all.h"

namespace accrue {

inline constexpr absl::Duration kPatience = absl::Seconds(60);
// Several pieces, the last one shorter.
inline constexpr int64_t kPayloadBytes = (int64_t{1} << 20) + 12'345;

inline std::string Id(int number) {
  return absl::StrCat(absl::Hex(number, absl::kZeroPad16), "0123456789abcdef");
}

// Bytes that tell where they belong.
inline std::string Payload(int64_t size, uint32_t seed = 1) {
  std::string bytes(static_cast<size_t>(size), '\0');
  uint32_t state = seed;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

// What ingest would be: it remembers what it is told, and asks for more in its
// own answers if it is `eager`.
class FakeStream final : public PayloadStream {
 public:
  explicit FakeStream(bool eager) : eager_(eager) {}

  void set_connection(std::shared_ptr<DataConnection> connection) {
    connection_ = std::move(connection);
  }
  void Release() { connection_ = nullptr; }

  void OnChunk(ByteChain chunk) override {
    int64_t size = 0;
    {
      MutexLock lock(&mutex_);
      for (const ByteChain::Span& span : chunk.spans()) {
        bytes_.append(reinterpret_cast<const char*>(span.data),
                      static_cast<size_t>(span.size));
        size += span.size;
      }
      sizes_.push_back(size);
      changed_.SignalAll();
    }
    // As ingest: before it looks at the bytes.
    if (eager_) connection_->Read();
  }
  void OnEnd() override {
    MutexLock lock(&mutex_);
    ++ends_;
    changed_.SignalAll();
  }
  void OnCancelled() override { ADD_FAILURE() << "cancelled"; }
  void OnFault(absl::Status why) override {
    MutexLock lock(&mutex_);
    ++faults_;
    fault_ = std::move(why);
    changed_.SignalAll();
  }

  void AwaitChunks(size_t count) {
    MutexLock lock(&mutex_);
    while (sizes_.size() < count && !Overdue()) {
    }
  }
  std::string AwaitEnd() {
    MutexLock lock(&mutex_);
    while (ends_ + faults_ == 0 && !Overdue()) {
    }
    EXPECT_EQ(ends_, 1);
    EXPECT_EQ(faults_, 0) << fault_;
    return bytes_;
  }
  absl::Status AwaitFault() {
    MutexLock lock(&mutex_);
    while (ends_ + faults_ == 0 && !Overdue()) {
    }
    EXPECT_EQ(ends_, 0);
    EXPECT_EQ(faults_, 1);
    return fault_;
  }
  std::vector<int64_t> sizes() {
    MutexLock lock(&mutex_);
    return sizes_;
  }
  std::string bytes() {
    MutexLock lock(&mutex_);
    return bytes_;
  }

 private:
  // Waits for a change. True: there was none, and the test has failed.
  bool Overdue() ACCRUE_REQUIRES(mutex_) {
    if (!changed_.WaitWithDeadline(&mutex_, absl::Now() + kPatience)) {
      return false;
    }
    ADD_FAILURE() << "nothing happens";
    return true;
  }

  const bool eager_;
  std::shared_ptr<DataConnection> connection_;
  Mutex mutex_;
  CondVar changed_;
  std::string bytes_ ACCRUE_GUARDED_BY(mutex_);
  std::vector<int64_t> sizes_ ACCRUE_GUARDED_BY(mutex_);
  int ends_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int faults_ ACCRUE_GUARDED_BY(mutex_) = 0;
  absl::Status fault_ ACCRUE_GUARDED_BY(mutex_);
};

// The worker's end.
class Sender {
 public:
  // Has the other end adopted.
  explicit Sender(DataConnections& connections) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      ADD_FAILURE() << "no sockets";
      return;
    }
    fd_ = ends[0];
    const int on = 1;
    ioctl(ends[1], FIONBIO, &on);
    served_ = dup(ends[1]);
    connections.Adopt(ends[1]);
  }
  ~Sender() {
    HangUp();
    close(served_);
  }
  Sender(const Sender&) = delete;

  // The number of the next payload, which `Send` is to follow with.
  void SendNumber() { EXPECT_TRUE(Send(MakePayloadNumber(++number_))); }

  // False: the other end has gone.
  bool Send(const std::string& bytes) { return SendAll(fd_, bytes); }
  // As much as the sockets take.
  size_t SendUntilFull(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    return sent;
  }
  void HangUp() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

  // What was sent and not received.
  int64_t unread() const {
    int bytes = 0;
    ioctl(served_, FIONREAD, &bytes);
    return bytes;
  }
  void AwaitAllRead() const {
    const absl::Time deadline = absl::Now() + kPatience;
    while (unread() > 0) {
      ASSERT_LT(absl::Now(), deadline);
      std::this_thread::yield();
    }
  }

  // What is received: the answer to the preface; less, if the connection ends.
  std::string Answer() {
    std::string answer(kDataPrefaceAnswer.size(), '\0');
    size_t size = 0;
    while (size < answer.size()) {
      const ssize_t n = Receive(answer.data() + size, answer.size() - size);
      if (n <= 0) break;
      size += static_cast<size_t>(n);
    }
    answer.resize(size);
    return answer;
  }
  // Nothing but the end comes.
  void ExpectClosed() {
    char byte;
    EXPECT_LE(Receive(&byte, 1), 0);
    EXPECT_NE(errno, EAGAIN);
  }

 private:
  ssize_t Receive(char* bytes, size_t size) {
    pollfd entry = {fd_, POLLIN, 0};
    if (poll(&entry, 1,
             static_cast<int>(absl::ToInt64Milliseconds(kPatience))) != 1) {
      ADD_FAILURE() << "nothing comes";
    }
    errno = 0;
    return recv(fd_, bytes, size, MSG_DONTWAIT);
  }

  int fd_ = -1;
  int served_ = -1;
  int64_t number_ = 0;
};

class DataConnectionsTest : public testing::Test {
 protected:
  DataConnectionsTest() { Start({.first_use_timeout = kPatience}); }
  ~DataConnectionsTest() override {
    // None may end a connection of what is gone.
    timers_.Stop();
    for (const auto& stream : streams_) stream->Release();
  }

  void Start(const DataConnections::Options& options) {
    connections_ = std::make_unique<DataConnections>(options, &timers_);
  }

  std::unique_ptr<Sender> Adopted() {
    return std::make_unique<Sender>(*connections_);
  }
  // One whose preface was answered.
  std::unique_ptr<Sender> Named(const std::string& id) {
    auto sender = Adopted();
    EXPECT_TRUE(sender->Send(MakeDataPreface(id)));
    EXPECT_EQ(sender->Answer(), kDataPrefaceAnswer);
    numbers_[id] = 0;
    return sender;
  }
  std::shared_ptr<DataConnection> Find(const std::string& id) {
    auto found = connections_->Find(id);
    EXPECT_NE(found, nullptr);
    return found;
  }
  // A push of so many bytes, of which none is asked for yet.
  std::shared_ptr<FakeStream> Begin(const std::string& id, int64_t bytes,
                                    bool eager = true) {
    streams_.push_back(std::make_shared<FakeStream>(eager));
    const auto connection = Find(id);
    streams_.back()->set_connection(connection);
    EXPECT_TRUE(connection->Begin(streams_.back(), ++numbers_[id], bytes));
    return streams_.back();
  }
  void AwaitCount(int64_t count) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (connections_->count() != count) {
      ASSERT_LT(absl::Now(), deadline) << connections_->count();
      std::this_thread::yield();
    }
  }
  // The one thread has dealt with all that came before.
  void Settle() {
    for (int i = 0; i < 2; ++i) {
      const std::string id = Id(0xf0 + i);
      Named(id)->HangUp();
      const absl::Time deadline = absl::Now() + kPatience;
      while (connections_->Find(id) != nullptr) {
        ASSERT_LT(absl::Now(), deadline);
        std::this_thread::yield();
      }
    }
  }

  TimerQueue timers_;
  std::vector<std::shared_ptr<FakeStream>> streams_;
  std::map<std::string, int64_t> numbers_;  // of the last push's payload
  std::unique_ptr<DataConnections> connections_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_DATA_CONNECTIONS_FIXTURE_H_
