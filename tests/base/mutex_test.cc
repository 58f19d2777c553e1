#include "server/base/mutex.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace accrue {
namespace {

TEST(MutexTest, OneThreadAtATimeHoldsIt) {
  Mutex mutex;
  int64_t count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10000; ++round) {
        MutexLock lock(&mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 40000);
}

TEST(MutexTest, TryLockFailsWhileAnotherThreadHoldsIt) {
  Mutex mutex;
  MutexLock lock(&mutex);
  bool locked = true;
  std::thread([&] {
    locked = mutex.TryLock();
    if (locked) mutex.Unlock();
  }).join();
  EXPECT_FALSE(locked);
}

TEST(CondVarTest, AWaitEndsWhenTheConditionIsSignalled) {
  Mutex mutex;
  CondVar changed;
  int turn = 0;
  std::thread other([&] {
    for (int i = 1; i < 200; i += 2) {
      MutexLock lock(&mutex);
      while (turn != i) changed.Wait(&mutex);
      ++turn;
      changed.SignalAll();
    }
  });
  for (int i = 0; i < 200; i += 2) {
    MutexLock lock(&mutex);
    while (turn != i) changed.WaitWithDeadline(&mutex, absl::InfiniteFuture());
    ++turn;
    changed.SignalAll();
  }
  other.join();
  EXPECT_EQ(turn, 200);
}

TEST(CondVarTest, AWaitEndsAtItsDeadlineAndNotBefore) {
  Mutex mutex;
  CondVar never;
  MutexLock lock(&mutex);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(20);
  while (!never.WaitWithDeadline(&mutex, deadline)) {
  }
  EXPECT_GE(absl::Now(), deadline);
}

TEST(CondVarTest, APastDeadlineDoesNotWait) {
  Mutex mutex;
  CondVar never;
  MutexLock lock(&mutex);
  EXPECT_TRUE(never.WaitWithDeadline(&mutex, absl::InfinitePast()));
  EXPECT_TRUE(never.WaitWithDeadline(&mutex, absl::Now()));
}

}  // namespace
}  // namespace accrue
