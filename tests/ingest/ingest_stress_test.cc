// Many senders, some of them bad, against little memory: every stream is
// answered exactly once with what its sender deserves, and nothing is left.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/ingest/admission.h"
#include "server/ingest/ingest.h"
#include "server/kernels/payload_hash.h"
#include "tests/ingest/fake_call.h"
#include "tests/ingest/fake_model.h"

namespace accrue {
namespace {

constexpr int kSenders = 4;
constexpr int kPushes = 150;  // a sender
constexpr int64_t kChunk = kMinChunkBytes;

enum class Fate {
  kComplete,
  kPartial,
  kOversize,
  kCancel,
  kCancelLate,
  kFreeze
};

class IngestStress : public testing::Test {
 protected:
  IngestStress() : pool_(2) {
    for (const int64_t chunks : {1, 3, 6}) {
      const std::string name = absl::StrCat("m", chunks);
      models_[name] = std::make_shared<FakeModel>(
          name, std::vector<int64_t>{chunks * kChunk / 4}, &pool_);
      models_[name]->set_look([this, chunks](const Push& push) {
        ++folded_;
        kernels::PayloadHash hash;
        for (const ByteChain::Span& span : push.payload.spans()) {
          hash.Update(span.data, span.size);
        }
        EXPECT_EQ(push.payload.size_bytes(), chunks * kChunk);
        EXPECT_EQ(push.hash, hash.Digest());
      });
    }
    IngestOptions options;
    // The largest fits, with one of the smallest.
    options.ingest_memory_bytes =
        Admission::ChargeOf(6 * kChunk) + Admission::ChargeOf(kChunk);
    options.push_idle_timeout = absl::Milliseconds(20);
    ingest_ = std::make_unique<Ingest>(
        options,
        [this](
            const std::string& name) -> absl::StatusOr<std::shared_ptr<Model>> {
          return models_.at(name);
        },
        &timers_, &ledger_);
  }

  void Send(std::mt19937& random);
  void Judge(Fate fate, const absl::Status& status);

  WorkPool pool_;
  TimerQueue timers_;
  MemoryLedger ledger_;
  std::map<std::string, std::shared_ptr<FakeModel>> models_;
  std::unique_ptr<Ingest> ingest_;
  const std::vector<char> bytes_ = std::vector<char>(7 * kChunk, 1);
  std::atomic<int64_t> folded_{0};
  std::atomic<int64_t> answered_ok_{0};
};

// Late aborts and idle timeouts may hit anyone.
void IngestStress::Judge(Fate fate, const absl::Status& status) {
  if (status.ok()) {
    ++answered_ok_;
    EXPECT_TRUE(fate == Fate::kComplete || fate == Fate::kCancelLate);
    return;
  }
  const Reason reason = GetErrorInfo(status).reason;
  if (reason == Reason::kStale || reason == Reason::kSlowPush) return;
  switch (fate) {
    case Fate::kPartial:
      EXPECT_EQ(reason, Reason::kPartial) << status;
      return;
    case Fate::kOversize:
      EXPECT_EQ(reason, Reason::kWrongShape) << status;
      return;
    case Fate::kCancel:
    case Fate::kCancelLate:
      EXPECT_TRUE(absl::IsCancelled(status)) << status;
      return;
    case Fate::kComplete:
    case Fate::kFreeze:
      ADD_FAILURE() << status;
  }
}

void IngestStress::Send(std::mt19937& random) {
  const int64_t chunks = std::vector<int64_t>{1, 3, 6}[random() % 3];
  const int64_t payload_bytes = chunks * kChunk;
  // Half of them are good.
  const auto fate = static_cast<Fate>(
      random() % 2 == 0 ? 0 : random() % (static_cast<int>(Fate::kFreeze) + 1));
  const int64_t stop = static_cast<int64_t>(random()) % chunks;

  const auto call = StartPush(*ingest_);
  std::thread canceller;
  if (fate == Fate::kCancelLate) {
    canceller = std::thread([&call] { call->Cancel(); });
  }
  PushHeader header;
  header.model = absl::StrCat("m", chunks);
  header.sequence = 1;
  header.payload_bytes = payload_bytes;
  const auto chunk = [&](int64_t size) {
    return TrackedChunk(bytes_.data(), size, 5000);
  };
  if (call->AwaitRead()) call->SendHeader(header);
  for (int64_t sent = 0; sent < chunks && call->AwaitRead(); ++sent) {
    if (sent == stop && fate == Fate::kFreeze) break;
    if (sent == stop && fate == Fate::kCancel) {
      call->Cancel();
      break;
    }
    if (sent == stop && fate == Fate::kPartial) {
      call->SendEnd();
      break;
    }
    const bool over = sent == stop && fate == Fate::kOversize;
    call->SendChunk(chunk(over ? payload_bytes + 4 - sent * kChunk : kChunk));
    if (over) break;
  }
  if (fate == Fate::kComplete || fate == Fate::kCancelLate) {
    if (call->AwaitRead()) call->SendEnd();
  }
  const absl::Status status = call->AwaitAnswer().status();
  if (canceller.joinable()) canceller.join();
  // A read that was outstanding fails after the answer.
  call->stream().OnEnd();
  call->Cancel();
  Judge(fate, status);
}

TEST_F(IngestStress, EveryStreamIsAnsweredOnceAndNothingIsLeft) {
  constexpr uint32_t kSeed = 20;
  std::cout << "seed " << kSeed << "\n";
  Mutex mu;
  CondVar finished;
  int running = kSenders;
  std::vector<std::thread> senders;
  for (uint32_t s = 0; s < kSenders; ++s) {
    senders.emplace_back([&, s] {
      std::mt19937 random(kSeed + s);
      for (int i = 0; i < kPushes; ++i) Send(random);
      MutexLock lock(&mu);
      --running;
      finished.Signal();
    });
  }
  {
    // Meanwhile the models change their minds now and then.
    MutexLock lock(&mu);
    while (running > 0) {
      finished.WaitWithDeadline(&mu, absl::Now() + absl::Milliseconds(7));
      for (const auto& [name, model] : models_) {
        model->AbortAll();
      }
    }
  }
  for (std::thread& sender : senders) sender.join();

  std::cout << answered_ok_ << " of " << kSenders * kPushes << " folded\n";
  EXPECT_EQ(folded_, answered_ok_);
  EXPECT_GT(answered_ok_, 0);
  EXPECT_EQ(ingest_->stream_count(), 0);
  for (const auto& [name, model] : models_) {
    EXPECT_EQ(model->arrival_count(), 0);
    model->Forget();
  }
  EXPECT_EQ(ingest_->reserved_bytes(), 0);
  EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest), 0);
  EXPECT_EQ(live_spans, 0);
}

}  // namespace
}  // namespace accrue
