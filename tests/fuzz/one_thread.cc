#include "tests/fuzz/one_thread.h"

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/clock.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"

namespace accrue {
namespace {

// Never destroyed.
std::deque<absl::AnyInvocable<void()>>& queued =
    *new std::deque<absl::AnyInvocable<void()>>;
bool running = false;

// Of each TimerQueue, by its address: fires what is set.
std::vector<std::pair<TimerQueue*, absl::AnyInvocable<void()>>>& fire =
    *new std::vector<std::pair<TimerQueue*, absl::AnyInvocable<void()>>>;

}  // namespace

namespace fuzz {

void RunQueued() {
  running = true;
  while (!queued.empty()) {
    absl::AnyInvocable<void()> work = std::move(queued.front());
    queued.pop_front();
    work();
  }
  running = false;
}

void FireTimers() {
  for (auto& [timers, fire_set] : fire) fire_set();
  RunQueued();
}

}  // namespace fuzz

struct WorkPool::LaneState {};

WorkPool::WorkPool(int threads, std::function<void()>, absl::Duration)
    : thread_count_(threads) {}

WorkPool::~WorkPool() { fuzz::RunQueued(); }

WorkPool::Waiting::Waiting() : pool_(nullptr) {}
WorkPool::Waiting::~Waiting() = default;

WorkPool::Lane WorkPool::NewLane() {
  return Lane(std::make_shared<LaneState>());
}

void WorkPool::Run(const Lane&, int64_t chunk_count,
                   std::function<void(int64_t)> body,
                   absl::AnyInvocable<void()> done) {
  queued.push_back(
      [chunk_count, body = std::move(body), done = std::move(done)]() mutable {
        for (int64_t chunk = 0; chunk < chunk_count; ++chunk) body(chunk);
        body = nullptr;
        if (done) done();
      });
}

void WorkPool::Post(const Lane&, absl::AnyInvocable<void()> work) {
  queued.push_back(std::move(work));
}

void WorkPool::RunHereOrPost(const Lane& lane,
                             absl::AnyInvocable<void()> work) {
  if (!running) return Post(lane, std::move(work));
  work();
}

TimerQueue::TimerQueue() {
  fire.emplace_back(this, [this] { ThreadLoop(); });
}

TimerQueue::~TimerQueue() {
  Stop();
  std::erase_if(fire,
                [this](const auto& entry) { return entry.first == this; });
}

void TimerQueue::Stop() {
  decltype(timers_) dropped;
  MutexLock lock(&mutex_);
  stopping_ = true;
  dropped.swap(timers_);
}

TimerId TimerQueue::At(absl::Time time, absl::AnyInvocable<void()> callback) {
  // Near enough for the clock's arithmetic.
  constexpr absl::Duration kLongest = absl::Hours(24 * 365);
  const absl::Duration until = std::min(time - absl::Now(), kLongest);
  MutexLock lock(&mutex_);
  if (stopping_) return TimerId();
  const TimerId id(
      TimerId::Time::clock::now() + absl::ToChronoNanoseconds(until),
      ++last_number_);
  timers_.emplace(id, std::move(callback));
  return id;
}

bool TimerQueue::Cancel(TimerId id) {
  decltype(timers_)::node_type cancelled;
  MutexLock lock(&mutex_);
  cancelled = timers_.extract(id);
  return !cancelled.empty();
}

// What is set now; what that sets stays.
void TimerQueue::ThreadLoop() {
  std::vector<TimerId> set;
  {
    MutexLock lock(&mutex_);
    for (const auto& [id, callback] : timers_) set.push_back(id);
  }
  for (const TimerId& id : set) {
    decltype(timers_)::node_type due;
    {
      MutexLock lock(&mutex_);
      due = timers_.extract(id);
    }
    if (!due.empty()) due.mapped()();
  }
}

}  // namespace accrue
