#include "server/ingest/admission.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/base/memory_ledger.h"

namespace accrue {
namespace {

// One thread asks and gives back; grants are written down in `order`.
class AdmissionTest : public testing::Test {
 protected:
  void Start(int64_t budget_bytes, absl::Duration patience,
             int64_t max_held_bytes = 0) {
    admission_ = std::make_shared<Admission>(
        Admission::Options{budget_bytes, patience, max_held_bytes}, &ledger_);
  }

  struct Request {
    Admission::Reservation reservation;
    Admission::Ticket ticket;
    absl::Status status;
  };

  // `name` begins with the model's letter.
  std::shared_ptr<Request> Ask(const std::string& name, int64_t bytes,
                               int64_t held_bytes = 0) {
    auto request = std::make_shared<Request>();
    auto asked = admission_->Ask(
        &models_[static_cast<size_t>(name[0] - 'A')], bytes, held_bytes,
        [this, name, request](Admission::Reservation reservation) {
          order_.push_back(name);
          request->reservation = std::move(reservation);
        });
    if (!asked.ok()) {
      request->status = asked.status();
    } else {
      request->reservation = std::move(asked->reservation);
      request->ticket = std::move(asked->ticket);
    }
    return request;
  }
  static bool Has(const std::shared_ptr<Request>& request) {
    return request->reservation != nullptr;
  }
  static void GiveBack(const std::shared_ptr<Request>& request) {
    request->reservation = nullptr;
  }
  void ExpectIdle() {
    EXPECT_EQ(admission_->reserved_bytes(), 0);
    EXPECT_EQ(admission_->waiting_count(), 0);
    EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest), 0);
  }

  MemoryLedger ledger_;
  char models_[26] = {};
  std::vector<std::string> order_;
  std::shared_ptr<Admission> admission_;
};

using Order = std::vector<std::string>;

TEST_F(AdmissionTest, APayloadIsChargedForTheMessagesItMayComeIn) {
  EXPECT_EQ(Admission::ChargeOf(0), 512);
  EXPECT_EQ(Admission::ChargeOf(1), 1 + 2 * 512);
  EXPECT_EQ(Admission::ChargeOf(16384), 16384 + 2 * 512);
  EXPECT_EQ(Admission::ChargeOf(16385), 16385 + 3 * 512);
}

TEST_F(AdmissionTest, WhatFitsIsGrantedAtOnceAndCharged) {
  Start(100, absl::InfiniteDuration());
  const auto a = Ask("A1", 60);
  const auto b = Ask("B1", 40);
  EXPECT_TRUE(Has(a));
  EXPECT_TRUE(Has(b));
  EXPECT_EQ(admission_->reserved_bytes(), 100);
  EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest), 100);
  GiveBack(a);
  EXPECT_EQ(admission_->reserved_bytes(), 40);
  GiveBack(b);
  EXPECT_EQ(order_, Order{});
  ExpectIdle();
}

TEST_F(AdmissionTest, AModelsRequestsAreGrantedInTheirOrder) {
  Start(100, absl::InfiniteDuration());
  const auto a1 = Ask("A1", 100);
  const auto a2 = Ask("A2", 100);
  const auto a3 = Ask("A3", 10);
  const auto a4 = Ask("A4", 10);
  EXPECT_FALSE(Has(a2) || Has(a3) || Has(a4));
  GiveBack(a1);
  EXPECT_EQ(order_, (Order{"A2"}));  // A3 fits no longer
  GiveBack(a2);
  EXPECT_EQ(order_, (Order{"A2", "A3", "A4"}));
  GiveBack(a3);
  GiveBack(a4);
  ExpectIdle();
}

TEST_F(AdmissionTest, ASmallRequestDoesNotPassALargeOneOfItsOwnModel) {
  Start(100, absl::InfiniteDuration());
  const auto a1 = Ask("A1", 50);
  const auto a2 = Ask("A2", 60);
  const auto a3 = Ask("A3", 10);
  EXPECT_FALSE(Has(a3));
  GiveBack(a1);
  EXPECT_EQ(order_, (Order{"A2", "A3"}));
  GiveBack(a2);
  GiveBack(a3);
  ExpectIdle();
}

TEST_F(AdmissionTest, ModelsTakeTurns) {
  Start(100, absl::InfiniteDuration());
  std::vector<std::shared_ptr<Request>> running = {Ask("A0", 100)};
  std::vector<std::shared_ptr<Request>> waiting;
  for (const char* name : {"A1", "A2", "A3", "B1", "B2", "C1"}) {
    waiting.push_back(Ask(name, 100));
  }
  while (!running.empty()) {
    GiveBack(running.back());
    running.clear();
    for (const auto& request : waiting) {
      if (Has(request)) running.push_back(request);
    }
  }
  EXPECT_EQ(order_, (Order{"A1", "B1", "C1", "A2", "B2", "A3"}));
  ExpectIdle();
}

TEST_F(AdmissionTest, AnotherModelsSmallRequestPassesALargeOne) {
  Start(100, absl::InfiniteDuration());
  const auto a1 = Ask("A1", 60);
  const auto a2 = Ask("A2", 60);
  const auto b1 = Ask("B1", 40);
  EXPECT_FALSE(Has(a2));
  EXPECT_TRUE(Has(b1));
  GiveBack(a1);
  EXPECT_TRUE(Has(a2));
  GiveBack(b1);
  GiveBack(a2);
  ExpectIdle();
}

TEST_F(AdmissionTest, ALargeRequestIsPassedByAtMostItsOwnBytes) {
  Start(100, absl::InfiniteDuration());
  const auto a1 = Ask("A1", 60);
  const auto large = Ask("A2", 100);
  int64_t passed_bytes = 0;
  while (true) {
    const auto small = Ask("B1", 20);
    if (!Has(small)) {
      // 100 bytes have passed: now memory is saved up.
      admission_->Cancel(small->ticket);
      break;
    }
    passed_bytes += 20;
    GiveBack(small);
  }
  EXPECT_EQ(passed_bytes, 100);
  const auto waits = Ask("B2", 20);
  EXPECT_FALSE(Has(waits));
  GiveBack(a1);
  EXPECT_EQ(order_, (Order{"A2"}));
  GiveBack(large);
  EXPECT_EQ(order_, (Order{"A2", "B2"}));
  GiveBack(waits);
  ExpectIdle();
}

TEST_F(AdmissionTest, ALargeRequestIsPassedOnlyUntilItsPatienceEnds) {
  Start(100, absl::ZeroDuration());
  const auto a1 = Ask("A1", 60);
  const auto large = Ask("A2", 60);
  const auto small = Ask("B1", 10);
  EXPECT_FALSE(Has(small));
  GiveBack(a1);
  EXPECT_EQ(order_, (Order{"A2", "B1"}));
  GiveBack(large);
  GiveBack(small);
  ExpectIdle();
}

TEST_F(AdmissionTest, ACancelledRequestLetsThoseBehindItPass) {
  Start(100, absl::ZeroDuration());
  const auto a1 = Ask("A1", 60);
  const auto a2 = Ask("A2", 60);
  const auto a3 = Ask("A3", 20);
  const auto b1 = Ask("B1", 20);
  admission_->Cancel(a2->ticket);
  EXPECT_EQ(order_, (Order{"A3", "B1"}));
  admission_->Cancel(a2->ticket);  // again: nothing happens
  admission_->Cancel(a3->ticket);  // granted: nothing happens
  GiveBack(a1);
  GiveBack(a3);
  GiveBack(b1);
  ExpectIdle();
}

TEST_F(AdmissionTest, MoreThanTheWholeBudgetIsGrantedAlone) {
  Start(100, absl::InfiniteDuration());
  const auto a1 = Ask("A1", 1);
  const auto a2 = Ask("A2", 1000);
  EXPECT_FALSE(Has(a2));
  GiveBack(a1);
  EXPECT_TRUE(Has(a2));
  EXPECT_EQ(admission_->reserved_bytes(), 100);
  GiveBack(a2);
  ExpectIdle();
}

TEST_F(AdmissionTest, FirstMessagesThatWaitAreBounded) {
  constexpr int64_t kLarge = 100 << 10;  // above what is free to hold
  Start(100, absl::InfiniteDuration(), 2 * kLarge);
  const auto a1 = Ask("A1", 100, kLarge);  // does not wait
  const auto a2 = Ask("A2", 100, kLarge);
  const auto a3 = Ask("A3", 100, kLarge);
  const auto a4 = Ask("A4", 100, kLarge);
  EXPECT_TRUE(Has(a1));
  EXPECT_EQ(a4->status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(a4->status).reason, Reason::kIngestMemory);
  EXPECT_GT(GetErrorInfo(a4->status).retry_after, absl::ZeroDuration());
  const auto a5 = Ask("A5", 100, Admission::kFreeHeldBytes);
  EXPECT_TRUE(a5->status.ok());
  admission_->Cancel(a2->ticket);
  const auto a6 = Ask("A6", 100, kLarge);
  EXPECT_TRUE(a6->status.ok());
  GiveBack(a1);
  GiveBack(a3);
  GiveBack(a5);
  GiveBack(a6);
  EXPECT_EQ(order_, (Order{"A3", "A5", "A6"}));
  ExpectIdle();
}

TEST_F(AdmissionTest, AReservationOutlivesItsAdmission) {
  Start(100, absl::InfiniteDuration());
  const auto a1 = Ask("A1", 60);
  admission_ = nullptr;
  EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest), 60);
  GiveBack(a1);
  EXPECT_EQ(ledger_.live_bytes(MemoryTag::kIngest), 0);
}

}  // namespace
}  // namespace accrue
