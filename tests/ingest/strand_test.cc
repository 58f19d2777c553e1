#include "server/ingest/strand.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace accrue {
namespace {

TEST(StrandTest, AnEventThatComesDuringAnotherRunsAfterIt) {
  Strand strand;
  std::vector<int> order;
  strand.Run([&] {
    strand.Run([&] { order.push_back(2); });
    order.push_back(1);
  });
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(StrandTest, ANoteRunsWhenItsDebtIsPaid) {
  Strand strand;
  std::vector<int> order;
  EXPECT_TRUE(strand.Leave([&] { order.push_back(1); }));
  EXPECT_FALSE(strand.Leave([&] { order.push_back(2); }));
  strand.Run([&] { order.push_back(3); });
  EXPECT_TRUE(order.empty());
  strand.RunQueued();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  strand.Run([&] { order.push_back(4); });
  EXPECT_EQ(order.size(), 4u);
}

TEST(StrandTest, EventsOfManyThreadsRunOneAtATimeAndNoneIsLost) {
  constexpr int kThreads = 4;
  constexpr int kEvents = 5000;
  Strand strand;
  int64_t count = 0;  // no lock: the strand is what guards it
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEvents; ++i) {
        if ((i + t) % 3 == 0) {
          if (strand.Leave([&] { ++count; })) strand.RunQueued();
        } else {
          strand.Run([&] { ++count; });
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kEvents);
}

}  // namespace
}  // namespace accrue
