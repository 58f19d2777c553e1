#include "server/model/state_budget.h"

#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/base/memory_ledger.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

constexpr int64_t kElems = 8;
// sgd: momentum and four publications in F32; the same publications in 16 bits.
constexpr int64_t kStateBytes = (1 + 4) * kElems * 4;
constexpr int64_t kCopyBytes = 4 * kElems * 2;

TEST(StateBudgetTest, GivesBackWithTheLastReference) {
  auto budget = std::make_shared<StateBudget>(10, nullptr);
  auto seven = budget->Reserve("m", "state", 7);
  ASSERT_TRUE(seven.ok()) << seven.status();
  const auto refused = budget->Reserve("m", "state", 4);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(refused.status()).reason, Reason::kStateMemory);
  EXPECT_EQ(GetErrorInfo(refused.status()).subject, "--state_memory");
  EXPECT_EQ(budget->reserved_bytes(), 7);
  StateBudget::Reservation other = *seven;
  seven = absl::UnknownError("dropped");
  EXPECT_EQ(budget->reserved_bytes(), 7);
  other.reset();
  EXPECT_EQ(budget->reserved_bytes(), 0);
  EXPECT_TRUE(budget->Reserve("m", "state", 10).ok());
}

TEST(StateBudgetTest, WhatIsKeptIsTakenForGood) {
  MemoryLedger process;
  const MemoryLedger model(&process);
  auto budget = std::make_shared<StateBudget>(10, &process);
  auto seven = budget->Reserve("m", "state", 7);
  ASSERT_TRUE(seven.ok()) << seven.status();
  {
    auto pinned = model.Add(MemoryTag::kParameters, 4);
    EXPECT_EQ(budget->reserved_bytes(), 7);
    pinned.Keep();
  }
  EXPECT_EQ(budget->reserved_bytes(), 11);
  EXPECT_FALSE(budget->Reserve("n", "state", 1).ok());
  seven = absl::UnknownError("dropped");
  EXPECT_EQ(budget->reserved_bytes(), 4);
  EXPECT_FALSE(budget->Reserve("n", "state", 7).ok());
  EXPECT_TRUE(budget->Reserve("n", "state", 6).ok());
}

class EncodedCopiesTest : public ::testing::Test {
 protected:
  // A store with room for one model and its copies in one encoding.
  EncodedCopiesTest() {
    ModelStore::Options options;
    options.environment = harness_.environment();
    options.state_memory_bytes = kStateBytes + kCopyBytes;
    store_ = std::make_unique<ModelStore>(options);
    std::promise<absl::StatusOr<ModelStore::Created>> made;
    store_->Create(SimpleSpec(kElems, 1),
                   [&](auto created) { made.set_value(std::move(created)); });
    model_ = made.get_future().get()->model;
    EXPECT_TRUE(harness_.Initialize(*model_, 1).ok());
  }

  absl::Status Encode(kernels::Encoding encoding) {
    std::promise<absl::Status> done;
    model_->newest()->Ranges(
        {}, encoding, harness_.environment().pool, model_->lane(),
        [&](const auto& ranges) { done.set_value(ranges.status()); });
    return done.get_future().get();
  }

  Harness harness_;
  std::unique_ptr<ModelStore> store_;
  std::shared_ptr<Model> model_;
};

TEST_F(EncodedCopiesTest, AreReservedWithTheFirstAndOnlyThen) {
  EXPECT_TRUE(Encode(kernels::Encoding::kF32).ok());
  EXPECT_EQ(store_->reserved_state_bytes(), kStateBytes);
  const std::string session = harness_.Open(*model_, "a")->id;
  for (int64_t i = 1; i <= 3; ++i) {
    EXPECT_TRUE(Encode(kernels::Encoding::kBf16).ok());
    EXPECT_EQ(store_->reserved_state_bytes(), kStateBytes + kCopyBytes);
    ASSERT_TRUE(
        harness_.PushNow(*model_, session, i, std::vector<float>(kElems, 1.0f))
            .ok());
  }
}

TEST_F(EncodedCopiesTest, AreRefusedWhereThereIsNoRoom) {
  ASSERT_TRUE(Encode(kernels::Encoding::kBf16).ok());
  const absl::Status refused = Encode(kernels::Encoding::kF16);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(refused).reason, Reason::kStateMemory);
  EXPECT_TRUE(Encode(kernels::Encoding::kF32).ok());
  EXPECT_TRUE(Encode(kernels::Encoding::kBf16).ok());
}

TEST_F(EncodedCopiesTest, AreGivenBackWithTheModelsMemory) {
  ASSERT_TRUE(Encode(kernels::Encoding::kBf16).ok());
  std::shared_ptr<const Publication> read = model_->newest();
  ASSERT_TRUE(store_->Delete(model_->name()).ok());
  model_.reset();
  EXPECT_EQ(store_->reserved_state_bytes(), kStateBytes + kCopyBytes);
  read.reset();
  // The pool may hold the model for a moment.
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (store_->reserved_state_bytes() > 0 && absl::Now() < limit) {
    std::this_thread::yield();
  }
  EXPECT_EQ(store_->reserved_state_bytes(), 0);
}

}  // namespace
}  // namespace accrue
