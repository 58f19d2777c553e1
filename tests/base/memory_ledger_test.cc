#include "server/base/memory_ledger.h"

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace accrue {
namespace {

int64_t Peak(const MemoryLedger& ledger, MemoryTag tag) {
  return ledger.Report()[static_cast<size_t>(tag)].peak_bytes;
}

TEST(MemoryLedgerTest, LiveBytesAreThoseOfTheChargesThatExist) {
  MemoryLedger ledger;
  MemoryLedger::Charge first = ledger.Add(MemoryTag::kMomentum, 100);
  {
    MemoryLedger::Charge second = ledger.Add(MemoryTag::kMomentum, 20);
    EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 120);
    EXPECT_EQ(ledger.live_bytes(MemoryTag::kVariance), 0);
  }
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 100);
  EXPECT_EQ(Peak(ledger, MemoryTag::kMomentum), 120);
  first.Release();
  first.Release();
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kMomentum), 0);
  EXPECT_EQ(first.bytes(), 0);
}

TEST(MemoryLedgerTest, AMovedChargeCountsOnce) {
  MemoryLedger ledger;
  MemoryLedger::Charge charge = ledger.Add(MemoryTag::kIngest, 7);
  MemoryLedger::Charge moved = std::move(charge);
  EXPECT_EQ(charge.bytes(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kIngest), 7);
  MemoryLedger::Charge other = ledger.Add(MemoryTag::kStaging, 5);
  other = std::move(moved);
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kIngest), 7);
  EXPECT_EQ(ledger.live_bytes(MemoryTag::kStaging), 0);
}

TEST(MemoryLedgerTest, AParentCountsItsChildren) {
  MemoryLedger process;
  MemoryLedger one(&process);
  MemoryLedger two(&process);
  auto first = one.Add(MemoryTag::kParameters, 1);
  auto second = two.Add(MemoryTag::kParameters, 2);
  EXPECT_EQ(one.live_bytes(MemoryTag::kParameters), 1);
  EXPECT_EQ(process.live_bytes(MemoryTag::kParameters), 3);
}

TEST(MemoryLedgerTest, AChargeMayOutliveItsLedger) {
  MemoryLedger process;
  auto model = std::make_unique<MemoryLedger>(&process);
  MemoryLedger::Charge charge = model->Add(MemoryTag::kParameters, 9);
  model.reset();
  EXPECT_EQ(process.live_bytes(MemoryTag::kParameters), 9);
  charge.Release();
  EXPECT_EQ(process.live_bytes(MemoryTag::kParameters), 0);
}

TEST(MemoryLedgerTest, AChargeThatIsKeptOutlivesItself) {
  MemoryLedger process;
  MemoryLedger model(&process);
  {
    MemoryLedger::Charge lost = model.Add(MemoryTag::kParameters, 4);
    MemoryLedger::Charge other = model.Add(MemoryTag::kParameters, 2);
    lost.Keep();
    lost.Release();
  }
  EXPECT_EQ(model.live_bytes(MemoryTag::kParameters), 4);
  EXPECT_EQ(process.live_bytes(MemoryTag::kParameters), 4);
  EXPECT_EQ(model.kept_bytes(), 4);
  EXPECT_EQ(process.kept_bytes(), 4);
}

TEST(MemoryLedgerTest, ThreadsLoseNoByte) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 1000;
  MemoryLedger process;
  MemoryLedger model(&process);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&model] {
      for (int round = 0; round < kRounds; ++round) {
        auto charge = model.Add(MemoryTag::kOther, 3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(process.live_bytes(MemoryTag::kOther), 0);
  EXPECT_GE(Peak(process, MemoryTag::kOther), 3);
  EXPECT_LE(Peak(process, MemoryTag::kOther), 3 * kThreads);
}

TEST(MemoryLedgerTest, TheReportHasEveryTagOnceByName) {
  std::set<std::string> names;
  for (const MemoryLedger::Row& row : MemoryLedger().Report()) {
    names.insert(std::string(MemoryTagName(row.tag)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kMemoryTagCount));
}

}  // namespace
}  // namespace accrue
