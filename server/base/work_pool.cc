#include "server/base/work_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "server/base/float_env.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace accrue {
namespace {

// Whose thread this is.
thread_local WorkPool* current_pool = nullptr;
// Whether a Waiting of its own lives.
thread_local bool waits = false;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

struct WorkPool::Job {
  Job(int64_t chunk_count, std::function<void(int64_t)> body,
      absl::AnyInvocable<void()> done)
      : chunk_count(chunk_count),
        unfinished(chunk_count),
        body(std::move(body)),
        done(std::move(done)) {}

  const int64_t chunk_count;
  int64_t claimed = 0;  // under the pool's mutex
  std::atomic<int64_t> unfinished;
  std::function<void(int64_t)> body;
  absl::AnyInvocable<void()> done;
};

// Under the pool's mutex, all of it. In ready_ exactly while it has jobs.
struct WorkPool::LaneState {
  std::deque<std::shared_ptr<Job>> jobs;
};

WorkPool::WorkPool(int threads, std::function<void()> on_thread_start,
                   absl::Duration spin)
    : thread_count_(threads),
      on_thread_start_(std::move(on_thread_start)),
      spin_(spin) {
  MutexLock lock(&mutex_);
  for (int i = 0; i < threads; ++i) StartThread();
}

WorkPool::~WorkPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    queued_.fetch_add(1, std::memory_order_relaxed);
  }
  work_.SignalAll();
  turn_.SignalAll();
  // What is still queued may start others.
  for (size_t i = 0;; ++i) {
    std::thread thread;
    {
      MutexLock lock(&mutex_);
      if (i == threads_.size()) return;
      thread = std::move(threads_[i]);
    }
    thread.join();
  }
}

void WorkPool::StartThread() {
  threads_.emplace_back([this] {
    if (on_thread_start_) on_thread_start_();
    AssertDenormalsKept();
    current_pool = this;
    ThreadLoop();
  });
  ++active_;
}

WorkPool::Waiting::Waiting() : pool_(waits ? nullptr : current_pool) {
  if (pool_ == nullptr) return;
  waits = true;
  pool_->BeginWaiting();
}

WorkPool::Waiting::~Waiting() {
  if (pool_ == nullptr) return;
  pool_->EndWaiting();
  waits = false;
}

void WorkPool::BeginWaiting() {
  MutexLock lock(&mutex_);
  --active_;
  if (spares_ > 0) {
    --spares_;
    ++active_;
    ++turns_;
    turn_.Signal();
  } else if (static_cast<int>(threads_.size()) < thread_count_ + kMostSpares) {
    try {
      StartThread();
    } catch (const std::system_error&) {
      // The system has no thread to give: as if there were kMostSpares.
    }
  }
}

// The thread has its job to end: only then is it one too many.
void WorkPool::EndWaiting() {
  MutexLock lock(&mutex_);
  ++active_;
}

void WorkPool::AwaitTurn() {
  while (active_ > thread_count_ && !stopping_) {
    --active_;
    ++spares_;
    // What it was woken for another can take.
    if (!ready_.empty() && sleepers_ > 0) work_.Signal();
    while (turns_ == 0 && !stopping_) turn_.Wait(&mutex_);
    if (turns_ > 0) {
      --turns_;
    } else {
      --spares_;
      ++active_;
    }
  }
}

WorkPool::Lane WorkPool::NewLane() {
  return Lane(std::make_shared<LaneState>());
}

void WorkPool::Run(const Lane& lane, int64_t chunk_count,
                   std::function<void(int64_t)> body,
                   absl::AnyInvocable<void()> done) {
  // A job without chunks gets one without a body, to have a thread run `done`.
  if (chunk_count == 0) body = nullptr;
  auto job = std::make_shared<Job>(std::max<int64_t>(chunk_count, 1),
                                   std::move(body), std::move(done));
  const int64_t chunks = job->chunk_count;
  int64_t to_wake = 0;
  {
    MutexLock lock(&mutex_);
    if (lane.state_->jobs.empty()) ready_.push_back(lane.state_);
    lane.state_->jobs.push_back(std::move(job));
    queued_.fetch_add(chunks, std::memory_order_relaxed);
    to_wake = std::min<int64_t>(chunks, sleepers_);
  }
  // Signalled after the unlock, so that the woken do not run into the mutex.
  for (; to_wake > 0; --to_wake) work_.Signal();
}

void WorkPool::Post(const Lane& lane, absl::AnyInvocable<void()> work) {
  Run(lane, 0, nullptr, std::move(work));
}

void WorkPool::RunHereOrPost(const Lane& lane,
                             absl::AnyInvocable<void()> work) {
  if (current_pool != this) return Post(lane, std::move(work));
  work();
}

WorkPool::Claim WorkPool::Take() {
  std::shared_ptr<LaneState> lane = std::move(ready_.front());
  ready_.pop_front();
  Claim claim;
  claim.job = lane->jobs.front();
  claim.chunk = claim.job->claimed++;
  if (claim.job->claimed == claim.job->chunk_count) lane->jobs.pop_front();
  if (!lane->jobs.empty()) ready_.push_back(std::move(lane));
  queued_.fetch_sub(1, std::memory_order_relaxed);
  return claim;
}

bool WorkPool::SpinForWork() const {
  if (spin_ <= absl::ZeroDuration()) return false;
  const auto end =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(spin_);
  while (queued_.load(std::memory_order_relaxed) == 0) {
    for (int i = 0; i < 16; ++i) Pause();
    if (std::chrono::steady_clock::now() >= end) return false;
  }
  return true;
}

// The next chunk to run; none once the pool stops and nothing is queued.
WorkPool::Claim WorkPool::Next() {
  bool spun = false;
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (true) {
        AwaitTurn();
        if (!ready_.empty()) return Take();
        if (stopping_) return {};
        if (!spun) break;
        ++sleepers_;
        work_.Wait(&mutex_);
        --sleepers_;
      }
    }
    // Having found work, but lost it to another thread, it may spin again.
    spun = !SpinForWork();
  }
}

void WorkPool::Execute(const Claim& claim) {
  Job& job = *claim.job;
  if (job.body) job.body(claim.chunk);
  if (job.unfinished.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  // What the body holds on to is let go before `done` runs, which may be the
  // owner's word that the job is over.
  job.body = nullptr;
  if (job.done) job.done();
}

void WorkPool::ThreadLoop() {
  while (true) {
    const Claim claim = Next();
    if (claim.job == nullptr) return;
    Execute(claim);
  }
}

}  // namespace accrue
