// WorkPool: the process's compute threads, shared fairly among lanes.
//
// A lane is a queue of jobs, a job a number of chunks. Threads take one chunk
// at a time and rotate over the lanes that have any, so that one big model
// cannot starve another.
//
// Order.     a lane's jobs start in FIFO order: the first chunk of a job starts
//            after every chunk of the one before has started (not: ended).
//            What waits for others says so (Waiting): another thread then takes
//            its place
// Invariant. every queued chunk and every `done` runs exactly once, those
//            queued at destruction included
// Numerics.  each thread checks at its start that denormals are kept
// Threading. safe. Jobs may queue jobs. Destroy the pool when no other thread
//            can queue any more, and not from one of its own

#ifndef ACCRUE_SERVER_BASE_WORK_POOL_H_
#define ACCRUE_SERVER_BASE_WORK_POOL_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace accrue {

class WorkPool {
  struct LaneState;

 public:
  // A handle of a queue; copies name the same queue. It may be dropped at any
  // time: what is queued still runs. It must not be used after the pool's end.
  class Lane {
   public:
    Lane() = default;

   private:
    friend class WorkPool;
    explicit Lane(std::shared_ptr<LaneState> state)
        : state_(std::move(state)) {}
    std::shared_ptr<LaneState> state_;
  };

  // While one lives, the thread that made it may wait for what is not the
  // pool's work, and the pool has as many threads for that as before. On any
  // thread; where it is not a pool's, or waits already, it does nothing. The
  // pool replaces up to kMostSpares threads at once.
  class Waiting {
   public:
    Waiting();
    ~Waiting();
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    WorkPool* const pool_;
  };
  static constexpr int kMostSpares = 64;

  // `on_thread_start` runs first on each thread. A thread without work spins
  // for `spin` before it sleeps: faster hand-overs, bought with idle cycles.
  explicit WorkPool(int threads, std::function<void()> on_thread_start = {},
                    absl::Duration spin = absl::ZeroDuration());
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  Lane NewLane();

  // Queues body(0) ... body(chunk_count - 1), which run in any order and at the
  // same time, and then done(), on the thread that ended the last of them.
  // `done` runs on the pool for chunk_count 0 too, and sees all that the bodies
  // wrote.
  void Run(const Lane& lane, int64_t chunk_count,
           std::function<void(int64_t chunk)> body,
           absl::AnyInvocable<void()> done);

  // Queues one call.
  void Post(const Lane& lane, absl::AnyInvocable<void()> work);
  // Makes it here where the calling thread is one of the pool's, else as Post.
  void RunHereOrPost(const Lane& lane, absl::AnyInvocable<void()> work);

  // Of those that work at once.
  int thread_count() const { return thread_count_; }

 private:
  struct Job;
  struct Claim {
    std::shared_ptr<Job> job;
    int64_t chunk = 0;
  };

  void StartThread() ACCRUE_REQUIRES(mutex_);
  void ThreadLoop();
  void BeginWaiting() ACCRUE_EXCLUDES(mutex_);
  void EndWaiting() ACCRUE_EXCLUDES(mutex_);
  void AwaitTurn() ACCRUE_REQUIRES(mutex_);
  bool SpinForWork() const;
  Claim Next() ACCRUE_EXCLUDES(mutex_);
  Claim Take() ACCRUE_REQUIRES(mutex_);
  static void Execute(const Claim& claim);

  const int thread_count_;
  const std::function<void()> on_thread_start_;
  const absl::Duration spin_;

  mutable Mutex mutex_;
  CondVar work_;
  // Lanes that have jobs, the one to serve next in front.
  std::deque<std::shared_ptr<LaneState>> ready_ ACCRUE_GUARDED_BY(mutex_);
  int sleepers_ ACCRUE_GUARDED_BY(mutex_) = 0;
  // Threads that work or look for work: thread_count_, but for a moment.
  int active_ ACCRUE_GUARDED_BY(mutex_) = 0;
  // The others: neither active nor Waiting. `turns_` of them, counted as active
  // already, have yet to wake up.
  int spares_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int turns_ ACCRUE_GUARDED_BY(mutex_) = 0;
  CondVar turn_;
  bool stopping_ ACCRUE_GUARDED_BY(mutex_) = false;
  // Whether a spinning thread should look: chunks queued, or stopping.
  std::atomic<int64_t> queued_{0};

  std::vector<std::thread> threads_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_WORK_POOL_H_
