#include "server/base/timer_queue.h"

#include <latch>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace accrue {
namespace {

TEST(TimerQueueTest, ACallbackRunsAtItsTimeAndNotBefore) {
  TimerQueue timers;
  const absl::Time time = absl::Now() + absl::Milliseconds(20);
  absl::Time ran;
  std::latch done(1);
  timers.At(time, [&] {
    ran = absl::Now();
    done.count_down();
  });
  done.wait();
  EXPECT_GE(ran, time);
}

TEST(TimerQueueTest, APastTimeRunsAtOnce) {
  TimerQueue timers;
  std::latch done(2);
  timers.At(absl::InfinitePast(), [&] { done.count_down(); });
  timers.At(absl::Now() - absl::Hours(1), [&] { done.count_down(); });
  done.wait();
}

TEST(TimerQueueTest, CallbacksRunInTheOrderOfTheirTimes) {
  TimerQueue timers;
  std::vector<int> ran;
  std::latch done(3);
  const absl::Time base = absl::Now() + absl::Milliseconds(20);
  const auto record = [&](int which) {
    return [&ran, &done, which] {
      ran.push_back(which);
      done.count_down();
    };
  };
  timers.At(base + absl::Milliseconds(2), record(2));
  timers.At(base, record(0));
  timers.At(base + absl::Milliseconds(1), record(1));
  done.wait();
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2}));
}

TEST(TimerQueueTest, AnEarlierTimerIsNotHeldUpByALaterOne) {
  TimerQueue timers;
  timers.At(absl::InfiniteFuture(), [] { FAIL(); });
  timers.At(absl::Now() + absl::Hours(1), [] { FAIL(); });
  std::latch done(1);
  timers.At(absl::Now() + absl::Milliseconds(1), [&] { done.count_down(); });
  done.wait();
}

TEST(TimerQueueTest, ACancelledTimerNeverRuns) {
  TimerQueue timers;
  const TimerId id = timers.At(absl::Now() + absl::Hours(1), [] { FAIL(); });
  EXPECT_TRUE(timers.Cancel(id));
  EXPECT_FALSE(timers.Cancel(id));
  EXPECT_FALSE(timers.Cancel(TimerId()));
}

TEST(TimerQueueTest, CancelOfARunningTimerReturnsFalseWithoutWaiting) {
  TimerQueue timers;
  std::latch running(1);
  std::latch cancelled(1);
  std::latch done(1);
  const TimerId id = timers.At(absl::Now(), [&] {
    running.count_down();
    cancelled.wait();
    done.count_down();
  });
  running.wait();
  EXPECT_FALSE(timers.Cancel(id));
  cancelled.count_down();
  done.wait();
  EXPECT_FALSE(timers.Cancel(id));
}

TEST(TimerQueueTest, CallbacksMaySetAndCancelTimers) {
  TimerQueue timers;
  std::latch done(1);
  const TimerId doomed =
      timers.At(absl::Now() + absl::Hours(1), [] { FAIL(); });
  timers.At(absl::Now(), [&] {
    EXPECT_TRUE(timers.Cancel(doomed));
    timers.At(absl::Now(), [&] { done.count_down(); });
  });
  done.wait();
}

TEST(TimerQueueTest, DestructionDropsWhatIsNotDue) {
  auto held = std::make_shared<int>(1);
  {
    TimerQueue timers;
    timers.At(absl::Now() + absl::Hours(1), [held] { FAIL(); });
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(TimerQueueTest, AStoppedQueueTakesNothingMore) {
  TimerQueue timers;
  bool ran = false;
  timers.At(absl::Now() + absl::Hours(1), [&] { ran = true; });
  timers.Stop();
  const TimerId late = timers.At(absl::Now(), [&] { ran = true; });
  EXPECT_FALSE(timers.Cancel(late));
  timers.Stop();
  EXPECT_FALSE(ran);
}

TEST(TimerQueueTest, WhatACancelledCallbackHeldMayUseTheQueue) {
  TimerQueue timers;
  const TimerId other = timers.At(absl::Now() + absl::Hours(1), [] { FAIL(); });
  std::shared_ptr<int> canceller(new int(0), [&](const int* value) {
    delete value;
    EXPECT_TRUE(timers.Cancel(other));
  });
  const TimerId id =
      timers.At(absl::Now() + absl::Hours(1), [canceller] { FAIL(); });
  canceller.reset();
  EXPECT_TRUE(timers.Cancel(id));
}

TEST(TimerQueueTest, OfThousandsEachEitherRunsOrWasCancelled) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  constexpr int kTimers = 5000;
  std::vector<int> runs(kTimers, 0);
  std::vector<bool> cancelled(kTimers);
  TimerQueue timers;
  std::vector<TimerId> ids;
  const absl::Time base = absl::Now();
  for (int i = 0; i < kTimers; ++i) {
    const absl::Time time = base + absl::Microseconds(random() % 50000);
    ids.push_back(
        timers.At(time, [&runs, i] { ++runs[static_cast<size_t>(i)]; }));
  }
  for (size_t i = 0; i < kTimers; i += 2) cancelled[i] = timers.Cancel(ids[i]);
  std::latch done(1);
  timers.At(base + absl::Milliseconds(51), [&] { done.count_down(); });
  done.wait();
  for (size_t i = 0; i < kTimers; ++i) {
    EXPECT_EQ(runs[i], cancelled[i] ? 0 : 1) << i;
  }
}

}  // namespace
}  // namespace accrue
