// k follows the noise, and the micro_steps of pushes that were refused too: of
// those the journal has no record of their own, and k is the same again all the
// same.
#include <cmath>
#include <cstdint>
#include <future>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/durability/change_record.h"
#include "server/durability/journal.h"
#include "server/durability/journal_reader.h"
#include "tests/durability/journal_harness.h"
#include "tests/durability/journalled_log.h"
#include "tests/durability/memory_files.h"
#include "tests/model/harness.h"
#include "tests/model/stored.h"

namespace accrue {
namespace {

constexpr int64_t kElems = 10'000;

ModelSpec Spec() {
  ModelSpec spec = SimpleSpec(kElems, 6);
  spec.groups[0].hyper.beta1 = spec.groups[0].hyper.dampening = 0.9;
  spec.groups[0].hyper.learning_rate = 1e-3;
  spec.groups[0].adaptive_k = rule::AdaptiveK{.min_k = 1, .max_k = 64};
  return spec;
}

class AdaptiveReplayTest : public ::testing::Test {
 protected:
  AdaptiveReplayTest() {
    std::cout << "seed 11\n";
    model_ = harness_.Make(Spec());
    stored_ = *CaptureNow(*model_);
    model_->Attach(std::make_shared<JournalledLog>(
        *Journal::Open({.files = &files_,
                        .pool = harness_.environment().pool,
                        .directory = "m",
                        .id = kJournalId})));
  }

  // Of gradients whose deviation is four times their mean: k = 4 fits them.
  std::unique_ptr<Push> NewPush(const std::string& session, int64_t sequence,
                                int64_t micro_steps) {
    std::normal_distribution<float> normal(
        1, 4 / std::sqrt(static_cast<float>(micro_steps)));
    std::vector<float> gradient(kElems);
    for (float& g : gradient) g = normal(random_);
    auto push = harness_.NewPush(*model_, session, sequence, gradient);
    push->header.micro_steps = micro_steps;
    return push;
  }
  std::shared_ptr<Model> Replayed() {
    std::shared_ptr<Model> again = *harness_.TryMake(Spec());
    EXPECT_TRUE(RestoreNow(*again, stored_).ok());
    auto reader = *JournalReader::Open({&files_, "m", kJournalId, 1});
    while (auto record = *reader.Next()) {
      auto change =
          DecodeChange(*std::move(record), again->spec(), *again->layout());
      std::promise<absl::Status> done;
      again->Replay(**std::move(change),
                    [&](absl::Status status) { done.set_value(status); });
      EXPECT_TRUE(done.get_future().get().ok());
    }
    return again;
  }

  Harness harness_;
  MemoryFiles files_;
  std::shared_ptr<Model> model_;
  std::shared_ptr<Stored> stored_;
  std::mt19937 random_{11};
};

TEST_F(AdaptiveReplayTest, KGoesByRefusedPushesToo) {
  const std::string twos = harness_.Open(*model_, "twos")->id;
  const std::string threes = harness_.Open(*model_, "threes")->id;
  int64_t sequence = 0;
  bool published = false;
  for (int cycle = 0; cycle < 40; ++cycle) {
    published = false;
    while (!published) {
      const auto pushed =
          harness_.PushNow(*model_, NewPush(twos, ++sequence, 2));
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      published = pushed->published;
      if (published) continue;
      const auto refused = harness_.PushNow(*model_, NewPush(threes, 1, 3));
      ASSERT_FALSE(refused.ok());
    }
  }
  const std::shared_ptr<Model> again = Replayed();
  EXPECT_EQ(harness_.Image(*again), harness_.Image(*model_));
  const ModelDescription was = model_->Describe(), is = again->Describe();
  EXPECT_EQ(was.groups[0].k % 6, 0);
  EXPECT_EQ(is.groups[0].k, was.groups[0].k);
  ASSERT_EQ(is.k_changes.size(), was.k_changes.size());
  const auto recent = [](const std::shared_ptr<Stored>& stored) {
    return stored->state().recent_micro_steps;
  };
  EXPECT_EQ(recent(*CaptureNow(*again)), recent(*CaptureNow(*model_)));
}

}  // namespace
}  // namespace accrue
