#include "server/base/work_pool.h"

#include <atomic>
#include <latch>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace accrue {
namespace {

// Keeps a pool of one thread busy until opened.
class Gate {
 public:
  explicit Gate(WorkPool& pool) {
    pool.Post(pool.NewLane(), [this] {
      entered_.count_down();
      open_.wait();
    });
    entered_.wait();
  }
  void Open() { open_.count_down(); }

 private:
  std::latch entered_{1};
  std::latch open_{1};
};

// Threads and microseconds of spinning.
class WorkPoolTest : public testing::TestWithParam<std::pair<int, int>> {
 protected:
  WorkPool pool_{GetParam().first, {}, absl::Microseconds(GetParam().second)};
};

INSTANTIATE_TEST_SUITE_P(Sizes, WorkPoolTest,
                         testing::Values(std::pair(1, 0), std::pair(2, 0),
                                         std::pair(7, 0), std::pair(3, 20)));

TEST_P(WorkPoolTest, EachChunkRunsOnceAndDoneRunsAfterThem) {
  const WorkPool::Lane lane = pool_.NewLane();
  for (const int64_t chunks : {0, 1, 2, 3, 15, 16, 17, 101, 1000}) {
    // Plain ints: ThreadSanitizer sees whether `done` is ordered behind bodies.
    std::vector<int> runs(static_cast<size_t>(chunks), 0);
    int64_t sum = -1;
    std::latch finished(1);
    pool_.Run(
        lane, chunks,
        [&](int64_t chunk) { ++runs[static_cast<size_t>(chunk)]; },
        [&] {
          sum = 0;
          for (const int count : runs) sum += count;
          finished.count_down();
        });
    finished.wait();
    EXPECT_EQ(sum, chunks);
    for (const int count : runs) EXPECT_EQ(count, 1);
  }
}

TEST_P(WorkPoolTest, JobsQueuedFromManyThreadsAndFromJobsAllRun) {
  constexpr int kPosters = 4;
  constexpr int kPosts = 500;
  std::atomic<int> ran{0};
  std::latch finished(kPosters * kPosts * 2);
  std::vector<std::thread> posters;
  for (int i = 0; i < kPosters; ++i) {
    posters.emplace_back([&] {
      const WorkPool::Lane lane = pool_.NewLane();
      for (int post = 0; post < kPosts; ++post) {
        pool_.Post(lane, [&, lane] {
          ++ran;
          pool_.Run(
              lane, 3, [&](int64_t) { ++ran; }, [&] { finished.count_down(); });
          finished.count_down();
        });
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  finished.wait();
  EXPECT_EQ(ran.load(), kPosters * kPosts * 4);
}

TEST_P(WorkPoolTest, DestructionRunsWhatIsQueued) {
  std::atomic<int> ran{0};
  {
    WorkPool pool(GetParam().first);
    const WorkPool::Lane lane = pool.NewLane();
    for (int i = 0; i < 100; ++i) {
      pool.Post(lane, [&, lane] {
        pool.Post(lane, [&] { ++ran; });
        ++ran;
      });
    }
  }
  EXPECT_EQ(ran.load(), 200);
}

TEST_P(WorkPoolTest, ChunksOfOneJobRunAtTheSameTime) {
  // Each chunk waits for all of them, which only as many threads can satisfy.
  const int threads = pool_.thread_count();
  std::latch all(threads);
  std::latch finished(1);
  pool_.Run(
      pool_.NewLane(), threads, [&](int64_t) { all.arrive_and_wait(); },
      [&] { finished.count_down(); });
  finished.wait();
}

TEST(WorkPoolOrderTest, ALaneStartsItsJobsInTheOrderOfTheirQueuing) {
  WorkPool pool(1);
  Gate gate(pool);
  const WorkPool::Lane lane = pool.NewLane();
  std::vector<std::string> order;
  std::latch finished(1);
  pool.Run(
      lane, 2,
      [&](int64_t chunk) { order.push_back("a" + std::to_string(chunk)); },
      [&] { order.push_back("a done"); });
  pool.Post(lane, [&] { order.push_back("b"); });
  pool.Run(lane, 0, nullptr, [&] { order.push_back("c"); });
  pool.Post(lane, [&] { finished.count_down(); });
  gate.Open();
  finished.wait();
  EXPECT_EQ(order, (std::vector<std::string>{"a0", "a1", "a done", "b", "c"}));
}

TEST(WorkPoolOrderTest, LanesTakeTurnsByChunk) {
  WorkPool pool(1);
  Gate gate(pool);
  const WorkPool::Lane big = pool.NewLane();
  const WorkPool::Lane small = pool.NewLane();
  std::string order;
  std::latch finished(1);
  pool.Run(
      big, 6, [&](int64_t) { order += 'B'; }, [&] { finished.count_down(); });
  pool.Run(small, 2, [&](int64_t) { order += 's'; }, {});
  pool.Post(small, [&] { order += 'p'; });
  gate.Open();
  finished.wait();
  EXPECT_EQ(order, "BsBsBpBBB");
}

TEST(WorkPoolOrderTest, ADroppedLaneStillRunsAndThenLetsGo) {
  WorkPool pool(1);
  Gate gate(pool);
  auto held = std::make_shared<int>(0);
  std::latch finished(1);
  {
    const WorkPool::Lane lane = pool.NewLane();
    pool.Run(lane, 10, [held](int64_t) { ++*held; }, {});
    pool.Post(lane, [&] { finished.count_down(); });
  }
  gate.Open();
  finished.wait();
  EXPECT_EQ(*held, 10);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(WorkPoolOrderTest, WhatABodyHoldsIsGoneWhenDoneRuns) {
  WorkPool pool(2);
  auto held = std::make_shared<int>(0);
  std::weak_ptr<int> watch = held;
  bool gone = false;
  std::latch finished(1);
  pool.Run(
      pool.NewLane(), 50, [held = std::move(held)](int64_t) {},
      [&] {
        gone = watch.expired();
        finished.count_down();
      });
  finished.wait();
  EXPECT_TRUE(gone);
}

TEST(WorkPoolWaitingTest, WhatWaitsKeepsNoOthersFromRunning) {
  WorkPool pool(1);
  const WorkPool::Lane lane = pool.NewLane();
  constexpr int kWaiting = 5;
  std::latch waited(kWaiting), open(1);
  for (int i = 0; i < kWaiting; ++i) {
    pool.Post(lane, [&] {
      const WorkPool::Waiting waiting;
      const WorkPool::Waiting nested;
      open.wait();
      waited.count_down();
    });
  }
  pool.Post(lane, [&] { open.count_down(); });
  waited.wait();
}

TEST(WorkPoolWaitingTest, NoMoreThreadsWorkAfterwardsThanBefore) {
  std::atomic<int> threads = 0;
  WorkPool pool(2, [&] { ++threads; });
  const WorkPool::Lane lane = pool.NewLane();
  std::atomic<int> working = 0, most = 0;
  for (int round = 0; round < 20; ++round) {
    std::latch all_wait(3), ended(3);
    pool.Run(
        lane, 3,
        [&](int64_t) {
          const WorkPool::Waiting waiting;
          all_wait.arrive_and_wait();
        },
        [&] { ended.count_down(3); });
    ended.wait();
    std::latch done(1);
    pool.Run(
        lane, 50,
        [&](int64_t) {
          const int now = ++working;
          for (int seen = most; seen < now;) {
            most.compare_exchange_weak(seen, now);
          }
          std::this_thread::yield();
          --working;
        },
        [&] { done.count_down(); });
    done.wait();
  }
  EXPECT_LE(most, 2);
  // Spares are used again.
  EXPECT_LE(threads, 2 + 3);
}

// A thread that is woken to find itself one too many passes on what it was
// woken for.
TEST(WorkPoolWaitingTest, NothingIsLeftToWhoeverEndedItsWaiting) {
  WorkPool pool(2);
  const WorkPool::Lane lane = pool.NewLane();
  for (int round = 0; round < 200; ++round) {
    std::latch waits(1), open(1), ended(1), chunk_ran(1), over(1);
    pool.Post(lane, [&] {
      {
        const WorkPool::Waiting waiting;
        waits.count_down();
        open.wait();
      }
      ended.count_down();
      chunk_ran.wait();
      over.count_down();
    });
    waits.wait();
    open.count_down();
    ended.wait();
    pool.Post(lane, [&] { chunk_ran.count_down(); });
    over.wait();
  }
}

TEST(WorkPoolWaitingTest, DestructionRunsWhatIsQueuedBehindIt) {
  std::atomic<int> ran = 0;
  std::latch open(1);
  {
    WorkPool pool(1);
    const WorkPool::Lane lane = pool.NewLane();
    for (int i = 0; i < 3; ++i) {
      pool.Post(lane, [&] {
        const WorkPool::Waiting waiting;
        open.wait();
        ++ran;
      });
    }
    pool.Post(lane, [&] {
      open.count_down();
      ++ran;
    });
  }
  EXPECT_EQ(ran, 4);
}

TEST(WorkPoolWaitingTest, ElsewhereItDoesNothing) {
  const WorkPool::Waiting waiting;
}

TEST(WorkPoolThreadTest, TheStartFunctionRunsOnEachThread) {
  Mutex mutex;
  std::multiset<std::thread::id> ids;
  {
    WorkPool pool(5, [&] {
      MutexLock lock(&mutex);
      ids.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(pool.thread_count(), 5);
  }
  EXPECT_EQ(ids.size(), 5u);
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 5u);
}

#if defined(__x86_64__)
TEST(WorkPoolThreadDeathTest, AThreadThatFlushesDenormalsIsFatal) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(WorkPool(1, [] { _mm_setcsr(_mm_getcsr() | 0x8000); }),
               "flushes denormals");
}
#endif

}  // namespace
}  // namespace accrue
