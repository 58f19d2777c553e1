// Data connections over socket pairs, with streams that only remember.

#include "server/service/data_connections.h"

#include <algorithm>
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
#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/base/timer_queue.h"

namespace accrue {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);
// Several pieces, the last one shorter.
constexpr int64_t kPayloadBytes = (int64_t{1} << 20) + 12'345;

std::string Id(int number) {
  return absl::StrCat(absl::Hex(number, absl::kZeroPad16), "0123456789abcdef");
}

// Bytes that tell where they belong.
std::string Payload(int64_t size, uint32_t seed = 1) {
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
  bool Send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n =
          send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
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

TEST_F(DataConnectionsTest, APrefaceMayComeInPieces) {
  const std::string preface = MakeDataPreface(Id(1));
  for (const size_t cut : {size_t{1}, size_t{14}, size_t{46}, size_t{47}}) {
    const auto sender = Adopted();
    ASSERT_TRUE(sender->Send(preface.substr(0, cut)));
    ASSERT_NO_FATAL_FAILURE(sender->AwaitAllRead());
    EXPECT_EQ(connections_->Find(Id(1)), nullptr);
    ASSERT_TRUE(sender->Send(preface.substr(cut)));
    EXPECT_EQ(sender->Answer(), kDataPrefaceAnswer);
    EXPECT_NE(connections_->Find(Id(1)), nullptr);
    sender->HangUp();
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
    EXPECT_EQ(connections_->Find(Id(1)), nullptr);
  }
}

TEST_F(DataConnectionsTest, GarbageIsHungUpOn) {
  const std::string preface = MakeDataPreface(Id(1));
  std::vector<std::string> garbage = {std::string(kDataPrefaceSize, 'A'),
                                      MakeDataPreface(std::string(32, 'x'))};
  garbage.push_back(preface);
  garbage.back()[12] = '2';
  garbage.push_back(preface);
  garbage.back().back() = ' ';
  for (const std::string& bytes : garbage) {
    const auto sender = Adopted();
    ASSERT_TRUE(sender->Send(bytes));
    sender->ExpectClosed();
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  }
  // So is whoever leaves in the middle.
  const auto sender = Adopted();
  ASSERT_TRUE(sender->Send(preface.substr(0, 40)));
  sender->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
}

TEST_F(DataConnectionsTest, AnIdThatIsTakenIsNotGivenAgain) {
  const auto first = Named(Id(1));
  const auto connection = Find(Id(1));
  const auto second = Adopted();
  ASSERT_TRUE(second->Send(MakeDataPreface(Id(1))));
  second->ExpectClosed();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  EXPECT_EQ(connections_->Find(Id(1)), connection);
  first->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  Named(Id(1));
}

TEST_F(DataConnectionsTest, OneTooManyIsHungUpOn) {
  Start({.max_connections = 2, .first_use_timeout = kPatience});
  const auto first = Named(Id(1));
  const auto silent = Adopted();
  for (int i = 0; i < 3; ++i) Adopted()->ExpectClosed();
  EXPECT_EQ(connections_->count(), 2);
  first->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  Named(Id(2));
}

TEST_F(DataConnectionsTest, NoneMeansNone) {
  Start({.max_connections = 0, .first_use_timeout = kPatience});
  Adopted()->ExpectClosed();
  EXPECT_EQ(connections_->count(), 0);
}

TEST_F(DataConnectionsTest, OneThatNoPushNamesIsClosed) {
  Start({.first_use_timeout = absl::Milliseconds(1)});
  const auto silent = Adopted();
  silent->ExpectClosed();
  const auto named = Adopted();
  // Perhaps it is closed before it has said its name.
  if (named->Send(MakeDataPreface(Id(1)))) named->Answer();
  named->ExpectClosed();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  EXPECT_EQ(connections_->Find(Id(1)), nullptr);
}

TEST_F(DataConnectionsTest, OneThatAPushHasNamedStays) {
  const auto unused = Named(Id(1));
  const auto used = Named(Id(2));
  const auto stream = Begin(Id(2), 3);
  Find(Id(2))->EndUnused();
  used->SendNumber();
  ASSERT_TRUE(used->Send("abc"));
  Find(Id(2))->Read();
  EXPECT_EQ(stream->AwaitEnd(), "abc");
  EXPECT_EQ(Find(Id(2))->End(), 3);
  Find(Id(2))->EndUnused();
  Find(Id(1))->EndUnused();
  unused->ExpectClosed();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  EXPECT_NE(connections_->Find(Id(2)), nullptr);
}

TEST_F(DataConnectionsTest, APayloadArrivesWholeWhereverItIsCut) {
  const auto sender = Named(Id(1));
  const std::string payload = Payload(kPayloadBytes);
  int64_t number = 0;
  for (const size_t cut : {size_t{1}, size_t{4'095}, size_t{262'143},
                           size_t{262'145}, payload.size()}) {
    const auto stream = Begin(Id(1), kPayloadBytes);
    Find(Id(1))->Read();
    std::thread sending([&] {
      for (const char byte : MakePayloadNumber(++number)) {
        ASSERT_TRUE(sender->Send(std::string(1, byte)));
        if (cut == 1) sender->AwaitAllRead();
      }
      // The first bytes one at a time, each received by itself.
      size_t sent = 0;
      for (; cut == 1 && sent < 100; ++sent) {
        ASSERT_TRUE(sender->Send(payload.substr(sent, 1)));
        sender->AwaitAllRead();
      }
      const size_t step = std::max(cut, size_t{777});
      for (; sent < payload.size(); sent += step) {
        ASSERT_TRUE(sender->Send(payload.substr(sent, step)));
      }
    });
    // Not EXPECT_EQ: nobody reads a megabyte.
    EXPECT_TRUE(stream->AwaitEnd() == payload) << cut;
    sending.join();
    EXPECT_EQ(Find(Id(1))->End(), kPayloadBytes);
    const std::vector<int64_t> sizes = stream->sizes();
    ASSERT_EQ(sizes.size(), 5u);
    EXPECT_EQ(sizes.back(), 12'345);
  }
}

TEST_F(DataConnectionsTest, PayloadsOfAnySizeComeBackToBack) {
  const auto sender = Named(Id(1));
  constexpr int64_t kPiece = 256 << 10;
  const std::vector<int64_t> sizes = {
      1, 3, kPiece - 1, kPiece, kPiece + 1, 20 * kPiece, 17};
  std::string all;
  int64_t number = 0;
  for (const int64_t size : sizes) {
    all += MakePayloadNumber(++number);
    all += Payload(size, static_cast<uint32_t>(size) + 7);
  }
  // As fast as it goes, whatever pushes there are yet.
  std::thread sending([&] { EXPECT_TRUE(sender->Send(all)); });
  for (const int64_t size : sizes) {
    const auto stream = Begin(Id(1), size);
    Find(Id(1))->Read();
    EXPECT_TRUE(stream->AwaitEnd() ==
                Payload(size, static_cast<uint32_t>(size) + 7))
        << size;
    EXPECT_EQ(Find(Id(1))->End(), size);
  }
  sending.join();
}

TEST_F(DataConnectionsTest, NothingIsReceivedThatWasNotAskedFor) {
  const auto sender = Named(Id(1));
  const std::string payload = MakePayloadNumber(1) + Payload(kPayloadBytes);
  // Without a push, of one that waits, and between two reads.
  size_t sent = sender->SendUntilFull(payload);
  int64_t unread = static_cast<int64_t>(sent);
  ASSERT_NO_FATAL_FAILURE(Settle());
  EXPECT_EQ(sender->unread(), unread);
  const auto stream = Begin(Id(1), kPayloadBytes, /*eager=*/false);
  ASSERT_NO_FATAL_FAILURE(Settle());
  EXPECT_EQ(sender->unread(), unread);
  for (size_t chunks = 1; chunks <= 2; ++chunks) {
    Find(Id(1))->Read();
    while (stream->sizes().size() < chunks) {
      sent += sender->SendUntilFull(payload.substr(sent));
    }
    sent += sender->SendUntilFull(payload.substr(sent));
    unread = static_cast<int64_t>(sent - kPayloadNumberSize -
                                  stream->bytes().size());
    EXPECT_GT(unread, 0);
    ASSERT_NO_FATAL_FAILURE(Settle());
    EXPECT_EQ(sender->unread(), unread);
    EXPECT_EQ(stream->sizes().size(), chunks);
  }
  EXPECT_TRUE(stream->bytes() ==
              payload.substr(kPayloadNumberSize, stream->bytes().size()));
}

TEST_F(DataConnectionsTest, TheEndIsToldWhenItIsAskedFor) {
  const auto sender = Named(Id(1));
  const auto stream = Begin(Id(1), 3, /*eager=*/false);
  Find(Id(1))->Read();
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("abc"));
  stream->AwaitChunks(1);
  ASSERT_NO_FATAL_FAILURE(Settle());
  Find(Id(1))->Read();
  EXPECT_EQ(stream->AwaitEnd(), "abc");
}

// Whose number, if it comes, nobody would read.
TEST_F(DataConnectionsTest, APayloadOfNothingEndsAtOnceAndTheConnection) {
  const auto sender = Named(Id(1));
  const auto connection = Find(Id(1));
  const auto stream = Begin(Id(1), 0);
  connection->Read();
  EXPECT_EQ(stream->AwaitEnd(), "");
  EXPECT_EQ(connection->End(), 0);
  sender->ExpectClosed();
}

// What was sent for a push that the daemon never saw.
TEST_F(DataConnectionsTest, AnotherPayloadThanThePushsIsAFault) {
  const auto sender = Named(Id(1));
  const auto connection = Find(Id(1));
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("abc"));
  ++numbers_[Id(1)];
  const auto stream = Begin(Id(1), 3);
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("def"));
  connection->Read();
  const absl::Status fault = stream->AwaitFault();
  EXPECT_EQ(fault.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(GetErrorInfo(fault).reason, Reason::kDataConnection);
  EXPECT_EQ(fault.message(),
            "the data connection does not carry payload 2 next");
  EXPECT_EQ(stream->bytes(), "");
  EXPECT_EQ(connection->End(), 0);
  sender->ExpectClosed();
}

TEST_F(DataConnectionsTest, AnEndBeforeThePayloadWasWholeClosesIt) {
  for (const int64_t received : {0, 1, 5}) {
    const auto sender = Named(Id(1));
    const auto connection = Find(Id(1));
    const auto stream = Begin(Id(1), 300'000, /*eager=*/false);
    if (received > 0) {
      connection->Read();
      sender->SendNumber();
      ASSERT_TRUE(sender->Send(Payload(received)));
      ASSERT_NO_FATAL_FAILURE(sender->AwaitAllRead());
    }
    // What was not handed over counts for nothing.
    EXPECT_EQ(connection->End(), 0);
    sender->ExpectClosed();
    EXPECT_EQ(connections_->Find(Id(1)), nullptr);
    EXPECT_EQ(connections_->count(), 0);
    EXPECT_FALSE(connection->Begin(stream, 2, 1));
    connection->Read();
    EXPECT_EQ(stream->bytes(), "");
  }
}

TEST_F(DataConnectionsTest, OneThatIsInUseIsRefused) {
  const auto sender = Named(Id(1));
  const auto stream = Begin(Id(1), 3);
  const auto other = std::make_shared<FakeStream>(/*eager=*/false);
  EXPECT_FALSE(Find(Id(1))->Begin(other, 2, 3));
  Find(Id(1))->Read();
  sender->SendNumber();
  ASSERT_TRUE(sender->Send("abc"));
  EXPECT_EQ(stream->AwaitEnd(), "abc");
  // Until its push has been answered.
  EXPECT_FALSE(Find(Id(1))->Begin(other, 2, 3));
  EXPECT_EQ(Find(Id(1))->End(), 3);
  EXPECT_TRUE(Find(Id(1))->Begin(other, 2, 3));
  EXPECT_EQ(other->bytes(), "");
}

TEST_F(DataConnectionsTest, APeerThatLeavesInTheMiddleIsAFault) {
  constexpr int64_t kPiece = 256 << 10;
  for (const int64_t received : {int64_t{0}, kPiece, kPiece + 100}) {
    const auto sender = Named(Id(1));
    const auto connection = Find(Id(1));
    const auto stream = Begin(Id(1), kPayloadBytes);
    connection->Read();
    sender->SendNumber();
    ASSERT_TRUE(sender->Send(Payload(received)));
    sender->HangUp();
    const absl::Status fault = stream->AwaitFault();
    EXPECT_EQ(fault.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(GetErrorInfo(fault).reason, Reason::kDataConnection);
    const int64_t whole = received / kPiece * kPiece;
    EXPECT_EQ(fault.message(),
              absl::StrCat("the data connection ended, ", kPayloadBytes - whole,
                           " bytes of the payload were still to come"));
    EXPECT_EQ(static_cast<int64_t>(stream->bytes().size()), whole);
    EXPECT_EQ(connection->End(), whole);
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  }
}

TEST_F(DataConnectionsTest, APeerThatLeavesWhilePushesWaitIsNoticedByTheRead) {
  const auto sender = Named(Id(1));
  const auto stream = Begin(Id(1), 10);
  ASSERT_TRUE(sender->Send("abc"));
  sender->HangUp();
  ASSERT_NO_FATAL_FAILURE(Settle());
  Find(Id(1))->Read();
  EXPECT_EQ(GetErrorInfo(stream->AwaitFault()).reason, Reason::kDataConnection);
}

TEST_F(DataConnectionsTest, WhoeverHangsUpWhileItIsIdleIsForgotten) {
  const auto unused = Named(Id(1));
  const auto used = Named(Id(2));
  const auto stream = Begin(Id(2), 3);
  Find(Id(2))->Read();
  used->SendNumber();
  ASSERT_TRUE(used->Send("abc"));
  stream->AwaitEnd();
  EXPECT_EQ(Find(Id(2))->End(), 3);
  unused->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(1));
  used->HangUp();
  ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
  EXPECT_EQ(connections_->Find(Id(2)), nullptr);
}

// A call that is cancelled, against the thread that receives.
TEST_F(DataConnectionsTest, AnEndMayComeAtAnyTime) {
  Start({.threads = 2, .first_use_timeout = kPatience});
  const std::string payload = Payload(kPayloadBytes);
  int whole = 0;
  for (int round = 0; round < 60; ++round) {
    const auto sender = Named(Id(1));
    const auto connection = Find(Id(1));
    const auto stream = Begin(Id(1), kPayloadBytes);
    connection->Read();
    std::thread sending([&] {
      sender->SendNumber();
      sender->Send(payload);
    });
    // In every fifth round when all of it is there.
    stream->AwaitChunks(static_cast<size_t>(round % 5 + 1));
    const int64_t received = connection->End();
    sending.join();
    EXPECT_GE(received,
              round % 5 == 4 ? kPayloadBytes : (round % 5 + 1) * (256 << 10));
    if (received == kPayloadBytes) {
      ++whole;
      const auto next = Begin(Id(1), 5);
      connection->Read();
      sender->SendNumber();
      ASSERT_TRUE(sender->Send("12345"));
      EXPECT_EQ(next->AwaitEnd(), "12345");
      EXPECT_EQ(connection->End(), 5);
      sender->HangUp();
    } else {
      sender->ExpectClosed();
    }
    ASSERT_NO_FATAL_FAILURE(AwaitCount(0));
    EXPECT_TRUE(stream->bytes() == payload.substr(0, stream->bytes().size()));
  }
  EXPECT_GE(whole, 12);
}

TEST_F(DataConnectionsTest, ManyConnectionsShareTheThread) {
  constexpr int kSenders = 4;
  // More than one turn's pieces.
  constexpr int64_t kBytes = 6 << 20;
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<std::shared_ptr<FakeStream>> streams;
  std::vector<std::thread> sending;
  for (int i = 0; i < kSenders; ++i) {
    senders.push_back(Named(Id(i)));
    streams.push_back(Begin(Id(i), kBytes));
    sending.emplace_back([&, i] {
      senders[i]->SendNumber();
      EXPECT_TRUE(senders[i]->Send(Payload(kBytes, i)));
    });
  }
  for (int i = 0; i < kSenders; ++i) Find(Id(i))->Read();
  for (int i = 0; i < kSenders; ++i) {
    EXPECT_TRUE(streams[i]->AwaitEnd() == Payload(kBytes, i)) << i;
    EXPECT_EQ(Find(Id(i))->End(), kBytes);
  }
  for (std::thread& thread : sending) thread.join();
}

}  // namespace
}  // namespace accrue
