// A model's changes through the journal and back: what is replayed is what was
// done, bit for bit; and what this program has not written is refused.
#include "server/durability/change_record.h"

#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/durability/batch_record.h"
#include "server/durability/binary_fields.h"
#include "server/durability/journal.h"
#include "server/durability/journal_reader.h"
#include "tests/durability/journal_harness.h"
#include "tests/durability/journalled_log.h"
#include "tests/durability/memory_files.h"
#include "tests/model/harness.h"
#include "tests/model/kept_models.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

using kernels::Encoding;
using testing::HasSubstr;

ModelSpec Asynchronous() {
  ModelSpec spec = TwoGroups("journalled");
  spec.max_staleness = -1;
  return spec;
}
constexpr int64_t kElems = kTwoGroupsElems;

class ChangeRecordTest : public testing::TestWithParam<KeptModel> {
 protected:
  ChangeRecordTest() : spec_(Asynchronous()) { GetParam().change(spec_); }

  std::unique_ptr<Push> NextPush(Model& model, size_t turn) {
    constexpr Encoding kEncodings[] = {Encoding::kF32, Encoding::kBf16,
                                       Encoding::kF16};
    std::normal_distribution<float> normal;
    std::vector<float> gradient(kElems);
    for (float& g : gradient) g = 8 * normal(random_);
    auto push = harness_.NewPush(model, sessions_[turn], ++sequences_[turn],
                                 gradient, kEncodings[pushes_++ % 3]);
    push->header.scale = 8;
    push->header.weight = 1.5;
    // What diverges says so.
    push->header.loss = pushes_ % 5 == 0
                            ? std::numeric_limits<double>::quiet_NaN()
                            : gradient[0];
    return push;
  }

  // All that a model may do, one after another and several at once.
  void Train(Model& model) {
    for (int i = 0; i < 2; ++i) {
      sessions_.push_back(
          harness_.Open(model, "worker" + std::to_string(i))->id);
      sequences_.push_back(0);
    }
    for (int round = 0; round < 12; ++round) {
      std::vector<std::future<absl::StatusOr<PushOutcome>>> answers;
      {
        Hold hold(model);
        for (size_t turn = 0; turn < 2; ++turn) {
          answers.push_back(harness_.Send(model, NextPush(model, turn)));
        }
      }
      for (auto& answer : answers) {
        const auto outcome = answer.get();
        ASSERT_TRUE(outcome.ok()) << outcome.status();
      }
      if (round == 4) {
        ASSERT_TRUE(harness_.PushNow(model, NextPush(model, 0)).ok());
        ASSERT_TRUE(harness_.EndCycle(model).ok());
      }
      if (round == 6) {
        const auto slower = [](rule::Hyperparameters& hyper) {
          hyper.learning_rate = 0.03;
        };
        ASSERT_TRUE(harness_.Update(model, {{"slow", slower}}).ok());
      }
      if (round == 8) {
        ASSERT_TRUE(harness_.CloseSession(model, sessions_[1]).ok());
        sessions_[1] = harness_.Open(model, "worker9")->id;
        sequences_[1] = 0;
      }
    }
    ASSERT_TRUE(harness_.PushNow(model, NextPush(model, 1)).ok());
  }

  // A model that does what is in files_, and what it was before.
  std::shared_ptr<Model> Journalled() {
    std::shared_ptr<Model> model = harness_.Make(spec_, 0.5);
    stored_ = *CaptureNow(*model);
    model->Attach(std::make_shared<JournalledLog>(
        *Journal::Open({.files = &files_,
                        .pool = harness_.environment().pool,
                        .directory = "m",
                        .id = kJournalId})));
    return model;
  }
  std::shared_ptr<Model> Trained() {
    const std::shared_ptr<Model> model = Journalled();
    Train(*model);
    return model;
  }
  std::shared_ptr<Model> Untrained() {
    std::shared_ptr<Model> model = *harness_.TryMake(spec_);
    EXPECT_TRUE(RestoreNow(*model, stored_).ok());
    return model;
  }
  std::vector<JournalRecord> Records() {
    auto reader = *JournalReader::Open({&files_, "m", kJournalId, 1});
    std::vector<JournalRecord> records;
    while (auto record = *reader.Next()) records.push_back(*std::move(record));
    return records;
  }
  absl::StatusOr<Change> Decode(JournalRecord record) {
    auto change = DecodeChange(std::move(record), spec_, layout_);
    if (!change.ok()) return change.status();
    return **std::move(change);
  }
  static absl::Status Replay(Model& model, Change change) {
    std::promise<absl::Status> done;
    model.Replay(std::move(change),
                 [&](absl::Status status) { done.set_value(status); });
    return done.get_future().get();
  }

  Harness harness_;
  ModelSpec spec_;
  Layout layout_{Asynchronous()};
  MemoryFiles files_;
  std::shared_ptr<Stored> stored_;
  std::mt19937 random_{5};
  std::vector<std::string> sessions_;
  std::vector<int64_t> sequences_;
  int pushes_ = 0;
};

TEST_P(ChangeRecordTest, WhatIsReplayedIsWhatWasDone) {
  const std::shared_ptr<Model> original = Trained();
  ASSERT_FALSE(HasFatalFailure());
  const std::shared_ptr<Model> again = Untrained();
  int64_t batches = 0;
  for (JournalRecord& record : Records()) {
    const int64_t lsn = record.lsn;
    absl::StatusOr<Change> change = Decode(std::move(record));
    ASSERT_TRUE(change.ok()) << change.status();
    batches += std::holds_alternative<BatchChange>(*change) ? 1 : 0;
    const absl::Status replayed = Replay(*again, *std::move(change));
    ASSERT_TRUE(replayed.ok()) << lsn << ": " << replayed;
  }
  EXPECT_GT(batches, 12);
  EXPECT_EQ(harness_.Image(*again), harness_.Image(*original));
  const ModelDescription was = original->Describe(), is = again->Describe();
  EXPECT_EQ(is.received_bytes, was.received_bytes);
  EXPECT_EQ(is.k_changes.size(), was.k_changes.size());
  // And it goes on alike: what was folded last is a duplicate.
  for (Model* model : {original.get(), again.get()}) {
    model->Attach(nullptr);
  }
  const std::mt19937 random = random_;
  for (Model* model : {original.get(), again.get()}) {
    random_ = random;
    for (int i = 0; i < 8; ++i) {
      auto push = NextPush(*model, 0);
      ASSERT_TRUE(harness_.PushNow(*model, std::move(push)).ok());
    }
    sequences_[0] -= 8;
    pushes_ -= 8;
  }
  EXPECT_EQ(harness_.Image(*again), harness_.Image(*original));
}

TEST_P(ChangeRecordTest, SessionsThatHaveExpiredDoNotComeBack) {
  harness_.environment().session_ttl = absl::Milliseconds(20);
  harness_.environment().max_sessions = 1;
  const std::shared_ptr<Model> model = Journalled();
  for (const char* worker : {"a", "b"}) {
    ASSERT_TRUE(harness_.Open(*model, worker).ok());
    const absl::Time limit = absl::Now() + absl::Seconds(30);
    while (!model->Sessions().empty() && absl::Now() < limit) {
      harness_.Image(*model);  // a turn of the executor
    }
  }
  const std::shared_ptr<Model> again = Untrained();
  for (JournalRecord& record : Records()) {
    ASSERT_TRUE(Replay(*again, *Decode(std::move(record))).ok());
    EXPECT_LE(again->Sessions().size(), 1);
  }
  EXPECT_TRUE(again->Sessions().empty());
}

TEST_P(ChangeRecordTest, PushesThatDoNotFollowWhatTheModelIsAreDamage) {
  Trained();
  const std::shared_ptr<Model> missing = Untrained();
  bool skipped = false;
  for (JournalRecord& record : Records()) {
    absl::StatusOr<Change> change = Decode(std::move(record));
    ASSERT_TRUE(change.ok()) << change.status();
    if (std::holds_alternative<BatchChange>(*change) &&
        !std::exchange(skipped, true)) {
      continue;
    }
    const StateImage before = harness_.Image(*missing);
    const absl::Status replayed = Replay(*missing, *std::move(change));
    if (replayed.ok()) continue;
    EXPECT_EQ(replayed.code(), absl::StatusCode::kDataLoss) << replayed;
    EXPECT_EQ(GetErrorInfo(replayed).reason, Reason::kDamaged);
    EXPECT_EQ(harness_.Image(*missing), before);
    EXPECT_EQ(before.folded_pushes, 0);
    return;
  }
  FAIL() << "all was taken";
}

TEST_P(ChangeRecordTest, PushesOfAnotherLineageAreDamage) {
  Trained();
  const std::shared_ptr<Model> model = Untrained();
  for (JournalRecord& record : Records()) {
    absl::StatusOr<Change> change = Decode(std::move(record));
    ASSERT_TRUE(change.ok()) << change.status();
    auto* batch = std::get_if<BatchChange>(&*change);
    if (batch == nullptr) continue;
    batch->version.lineage = std::string(32, '0');
    EXPECT_EQ(Replay(*model, *std::move(change)).code(),
              absl::StatusCode::kDataLoss);
    EXPECT_EQ(model->Describe().folded_pushes, 0);
    return;
  }
}

TEST_P(ChangeRecordTest, WhatIsDecodedIsEncodedAgainAsTheSameBytes) {
  Trained();
  for (JournalRecord& record : Records()) {
    const std::string head = record.head;
    const std::vector<uint64_t> hashes = record.hashes;
    std::vector<int64_t> sizes;
    for (const ByteChain& payload : record.payloads) {
      sizes.push_back(payload.size_bytes());
    }
    absl::StatusOr<Change> change = Decode(std::move(record));
    ASSERT_TRUE(change.ok()) << change.status();
    const JournalEntry entry = EncodeChange(*change);
    EXPECT_TRUE(entry.head == head);
    ASSERT_EQ(entry.payloads.size(), hashes.size());
    for (size_t i = 0; i < hashes.size(); ++i) {
      EXPECT_EQ(entry.payloads[i].hash, hashes[i]);
      EXPECT_EQ(entry.payloads[i].bytes->size_bytes(), sizes[i]);
    }
  }
}

// A forged record, as it were: the journal's checksums would not let it pass.
TEST_P(ChangeRecordTest, WhateverAHeadSaysNothingBreaks) {
  Trained();
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  random_.seed(static_cast<uint32_t>(seed));
  const size_t count = Records().size();
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<JournalRecord> records = Records();
    const std::shared_ptr<Model> model = Untrained();
    const size_t forged = random_() % count;
    std::string& head = records[forged].head;
    if (head.empty()) continue;
    if (round % 3 == 0) {
      head.resize(random_() % head.size());
    } else {
      head[random_() % head.size()] ^= static_cast<char>(1 << random_() % 8);
    }
    for (JournalRecord& record : records) {
      absl::StatusOr<Change> change = Decode(std::move(record));
      if (!change.ok()) {
        ++refused;
        EXPECT_TRUE(absl::IsDataLoss(change.status())) << change.status();
        EXPECT_THAT(std::string(change.status().message()), HasSubstr("byte"));
        break;
      }
      // Refused or not: the model may be poisoned by it, nothing else.
      if (!Replay(*model, *std::move(change)).ok()) break;
    }
  }
  EXPECT_GE(refused, 100);
}

INSTANTIATE_TEST_SUITE_P(Rules, ChangeRecordTest,
                         testing::ValuesIn(KeptModels()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace accrue
