#include "server/service/live_calls.h"

#include <memory>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

namespace accrue {
namespace {

struct CountingWaiter : Waiter {
  void OnDrain() override { ++drains; }
  int drains = 0;
};

TEST(LiveCallsTest, WhenNoneRunsAtOnceWithoutCalls) {
  LiveCalls calls;
  bool none = false;
  calls.WhenNone([&] { none = true; });
  EXPECT_TRUE(none);
}

TEST(LiveCallsTest, WhenNoneRunsWithTheLastCallsEnd) {
  LiveCalls calls;
  bool none = false;
  std::optional<LiveCalls::Entry> first = calls.Enter();
  std::optional<LiveCalls::Entry> second = calls.Enter();
  EXPECT_EQ(calls.count(), 2);
  calls.WhenNone([&] { none = true; });
  first.reset();
  EXPECT_FALSE(none);
  second.reset();
  EXPECT_TRUE(none);
  EXPECT_EQ(calls.count(), 0);
}

TEST(LiveCallsTest, AMovedEntryLeavesOnce) {
  LiveCalls calls;
  LiveCalls::Entry entry = calls.Enter();
  LiveCalls::Entry moved = std::move(entry);
  EXPECT_EQ(calls.count(), 1);
  moved = {};
  EXPECT_EQ(calls.count(), 0);
}

TEST(LiveCallsTest, EndWaitingTellsEveryWaiterThatStillLives) {
  LiveCalls calls;
  const auto waiter = std::make_shared<CountingWaiter>();
  auto gone = std::make_shared<CountingWaiter>();
  const LiveCalls::Entry entry = calls.Enter(waiter);
  const LiveCalls::Entry other = calls.Enter(gone);
  const LiveCalls::Entry plain = calls.Enter();
  gone.reset();
  EXPECT_FALSE(calls.draining());
  calls.EndWaiting();
  EXPECT_TRUE(calls.draining());
  EXPECT_EQ(waiter->drains, 1);
}

}  // namespace
}  // namespace accrue
