// IngestTest: streams of pushes and values into models that only look at them.

#ifndef ACCRUE_TESTS_INGEST_INGEST_FIXTURE_H_
#define ACCRUE_TESTS_INGEST_INGEST_FIXTURE_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
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

inline constexpr int64_t kChunk = kMinChunkBytes;
inline constexpr int64_t kElems = 16'384;           // of "a", "b" and "gathers"
inline constexpr int64_t kBytes = 4 * kElems;       // 4 chunks
inline constexpr int64_t kLargeElems = 4 * kElems;  // of model "large"
inline constexpr absl::Duration kSoon = absl::Milliseconds(50);

// Every test ends with every byte, reservation and arrival given back.
class IngestTest : public testing::Test {
 protected:
  IngestTest() {
    const std::vector<std::pair<std::string, std::vector<int64_t>>> models = {
        {"a", {kElems / 2, kElems / 2}},
        {"b", {kElems}},
        {"large", {kLargeElems}},
        {"small", {64}}};
    for (const auto& [name, elems] : models) {
      models_[name] = std::make_shared<FakeModel>(name, elems, pool_.get());
    }
    models_["gathers"] =
        std::make_shared<FakeModel>("gathers", std::vector<int64_t>{kElems},
                                    pool_.get(), rule::Buffering::kGather);
    for (size_t i = 0; i < values_.size(); ++i) {
      values_[i] = static_cast<float>(i % 1000) / 1000;
    }
  }

  ~IngestTest() override {
    // Their threads may still be busy with a stream's last event.
    timers_.Stop();
    pool_.reset();
    for (const auto& [name, model] : models_) {
      EXPECT_EQ(model->arrival_count(), 0) << name;
      model->Forget();
    }
    if (ingest_ != nullptr) {
      EXPECT_EQ(ingest_->reserved_bytes(), 0);
      EXPECT_EQ(ingest_->stream_count(), 0);
    }
    EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest), 0);
    EXPECT_EQ(live_spans, 0);
  }

  // Room for `payloads` of models a and b. Patient, but for what a test sets.
  static IngestOptions Patient(int64_t payloads = 4) {
    IngestOptions options;
    options.ingest_memory_bytes = payloads * Admission::ChargeOf(kBytes);
    options.header_timeout = kPatience;
    options.push_idle_timeout = kPatience;
    options.push_base_time = kPatience;
    options.admission_timeout = kPatience;
    return options;
  }
  Ingest& Start(const IngestOptions& options) {
    ingest_ = std::make_unique<Ingest>(
        options,
        [this](
            const std::string& name) -> absl::StatusOr<std::shared_ptr<Model>> {
          const auto at = models_.find(name);
          if (at == models_.end()) {
            return MakeError(absl::StatusCode::kNotFound, Reason::kModelUnknown,
                             absl::StrCat("no model \"", name, "\""));
          }
          return at->second;
        },
        &timers_, &ledger_);
    return *ingest_;
  }

  FakeModel& model(const std::string& name) { return *models_.at(name); }
  PushHeader Header(const std::string& name) {
    PushHeader header;
    header.model = name;
    header.session_id = "session";
    header.sequence = 1;
    header.payload_bytes = 4 * model(name).layout()->elems();
    return header;
  }
  ByteChain Bytes(int64_t begin, int64_t end) {
    return TrackedChunk(reinterpret_cast<const char*>(values_.data()) + begin,
                        end - begin);
  }
  uint64_t HashOf(int64_t bytes) {
    kernels::PayloadHash hash;
    hash.Update(reinterpret_cast<const std::byte*>(values_.data()), bytes);
    return hash.Digest();
  }

  // A push of which `bytes` have been received.
  std::unique_ptr<FakePush> PushUpTo(
      const std::string& name, int64_t bytes,
      absl::Time deadline = absl::InfiniteFuture()) {
    auto call = StartPush(*ingest_, deadline);
    call->SendHeader(Header(name));
    for (int64_t at = 0; at < bytes; at += kChunk) {
      call->SendChunk(Bytes(at, std::min(at + kChunk, bytes)));
    }
    return call;
  }
  // Sends the rest, from nothing on.
  void Complete(FakePush& call, const std::string& name) {
    const int64_t bytes = Header(name).payload_bytes;
    ASSERT_TRUE(call.AwaitRead());
    call.SendChunk(Bytes(0, bytes));
    call.SendEnd();
    EXPECT_TRUE(call.AwaitAnswer().ok());
  }
  template <typename Call>
  static void ExpectError(Call& call, absl::StatusCode code, Reason reason) {
    const absl::Status status = call.AwaitAnswer().status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(GetErrorInfo(status).reason, reason) << status;
  }

  std::unique_ptr<WorkPool> pool_ = std::make_unique<WorkPool>(2);
  TimerQueue timers_;
  MemoryLedger ledger_;
  std::vector<float> values_ = std::vector<float>(kLargeElems);
  std::map<std::string, std::shared_ptr<FakeModel>> models_;
  std::unique_ptr<Ingest> ingest_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_INGEST_INGEST_FIXTURE_H_
