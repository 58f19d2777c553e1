// FakeCall: the transport's side of one payload stream, driven by a test; and
// chunks whose memory is counted.
#ifndef ACCRUE_TESTS_INGEST_FAKE_CALL_H_
#define ACCRUE_TESTS_INGEST_FAKE_CALL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/base/byte_chain.h"
#include "server/base/mutex.h"
#include "server/ingest/ingest.h"

namespace accrue {

// Long enough for anything that should happen at all.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Spans of TrackedChunk that were not given back yet.
inline std::atomic<int64_t> live_spans{0};

// A copy of the bytes, in spans of at most `span_bytes`.
inline ByteChain TrackedChunk(const void* data, int64_t size,
                              int64_t span_bytes = 50'001) {
  ByteChain chain;
  const auto* bytes = static_cast<const char*>(data);
  for (int64_t at = 0; at < size; at += span_bytes) {
    const int64_t count = std::min(span_bytes, size - at);
    auto* span = new std::vector<char>(bytes + at, bytes + at + count);
    ++live_spans;
    chain.Append(span->data(), count,
                 {[](void* arg) {
                    delete static_cast<std::vector<char>*>(arg);
                    --live_spans;
                  },
                  span});
  }
  return chain;
}

// Answer: PushOutcome or Version. Made once, then Attach-ed to its stream.
template <typename Stream, typename Value>
class FakeCall {
 public:
  using Answer = absl::StatusOr<Value>;

  FakeCall() = default;
  FakeCall(const FakeCall&) = delete;
  // A call that was cancelled is answered all the same, perhaps on another
  // thread.
  ~FakeCall() {
    if (cancelled_) AwaitAnswerFor(kPatience);
  }

  StreamCallbacks callbacks() {
    return {[this] {
      MutexLock lock(&mu_);
      EXPECT_FALSE(reading_) << "read while a read is outstanding";
      EXPECT_FALSE(answer_.has_value()) << "read after the answer";
      reading_ = true;
      changed_.SignalAll();
    }};
  }
  std::function<void(Answer)> done() {
    return [this](Answer answer) {
      MutexLock lock(&mu_);
      EXPECT_FALSE(answer_.has_value()) << "answered twice";
      answer_ = std::move(answer);
      changed_.SignalAll();
    };
  }
  void Attach(std::shared_ptr<Stream> stream) { stream_ = std::move(stream); }
  Stream& stream() { return *stream_; }

  bool reading() {
    MutexLock lock(&mu_);
    return reading_;
  }
  bool answered() {
    MutexLock lock(&mu_);
    return answer_.has_value();
  }
  // False: the call was answered instead.
  bool AwaitRead() {
    const absl::Time give_up = absl::Now() + kPatience;
    MutexLock lock(&mu_);
    while (!reading_ && !answer_.has_value()) {
      if (changed_.WaitWithDeadline(&mu_, give_up)) {
        ADD_FAILURE() << "neither a read nor an answer";
        return false;
      }
    }
    return !answer_.has_value();
  }
  bool AwaitAnswerFor(absl::Duration time) {
    const absl::Time give_up = absl::Now() + time;
    MutexLock lock(&mu_);
    while (!answer_.has_value()) {
      if (changed_.WaitWithDeadline(&mu_, give_up)) break;
    }
    return answer_.has_value();
  }
  Answer AwaitAnswer() {
    if (!AwaitAnswerFor(kPatience)) {
      ADD_FAILURE() << "no answer";
      return absl::UnknownError("no answer");
    }
    MutexLock lock(&mu_);
    return *answer_;
  }

  // The answer to a read, which is waited for; without one, once the call is
  // answered, an event that comes too late.
  template <typename Header>
  void SendHeader(Header header, ByteChain chunk = {}) {
    TakeRead();
    stream_->OnHeader(std::move(header), std::move(chunk));
  }
  void SendChunk(ByteChain chunk) {
    TakeRead();
    stream_->OnChunk(std::move(chunk));
  }
  void SendEnd() {
    TakeRead();
    stream_->OnEnd();
  }
  // What was read is not fit to be taken.
  void SendFault(absl::Status why) {
    TakeRead();
    stream_->OnFault(std::move(why));
  }
  void Cancel() {
    cancelled_ = true;
    stream_->OnCancelled();
  }

 private:
  void TakeRead() {
    AwaitRead();
    MutexLock lock(&mu_);
    reading_ = false;
  }

  std::shared_ptr<Stream> stream_;
  bool cancelled_ = false;  // by the test's own thread
  Mutex mu_;
  CondVar changed_;
  bool reading_ ACCRUE_GUARDED_BY(mu_) = false;
  std::optional<Answer> answer_ ACCRUE_GUARDED_BY(mu_);
};

using FakePush = FakeCall<PushStream, PushOutcome>;
using FakeInitialize = FakeCall<InitializeStream, Version>;

inline std::unique_ptr<FakePush> StartPush(
    Ingest& ingest, absl::Time deadline = absl::InfiniteFuture()) {
  auto call = std::make_unique<FakePush>();
  call->Attach(ingest.NewPush(deadline, call->callbacks(), call->done()));
  return call;
}

inline std::unique_ptr<FakeInitialize> StartInitialize(Ingest& ingest) {
  auto call = std::make_unique<FakeInitialize>();
  call->Attach(ingest.NewInitialize(absl::InfiniteFuture(), call->callbacks(),
                                    call->done()));
  return call;
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_INGEST_FAKE_CALL_H_
