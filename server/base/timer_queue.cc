#include "server/base/timer_queue.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace accrue {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Far beyond any deadline, and near enough for std::chrono's arithmetic.
constexpr absl::Duration kLongest = absl::Hours(24 * 365 * 10);

SteadyClock::time_point ToSteady(absl::Time time) {
  const absl::Duration until =
      std::clamp(time - absl::Now(), -kLongest, kLongest);
  return SteadyClock::now() + absl::ToChronoNanoseconds(until);
}

}  // namespace

TimerQueue::TimerQueue() : thread_([this] { ThreadLoop(); }) {}

TimerQueue::~TimerQueue() { Stop(); }

void TimerQueue::Stop() {
  // Destroyed after the lock is gone: a callback may hold what locks again.
  decltype(timers_) dropped;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    dropped.swap(timers_);
  }
  changed_.Signal();
  if (thread_.joinable()) thread_.join();
}

TimerId TimerQueue::At(absl::Time time, absl::AnyInvocable<void()> callback) {
  const SteadyClock::time_point steady = ToSteady(time);
  bool sleeps_too_long = false;
  TimerId id;
  {
    MutexLock lock(&mutex_);
    if (stopping_) return id;
    id = TimerId(steady, ++last_number_);
    timers_.emplace(id, std::move(callback));
    // A timer that is set and cancelled again and again, as a stream's is, so
    // wakes the thread once a period and not every time.
    sleeps_too_long = steady < wakes_at_;
  }
  if (sleeps_too_long) changed_.Signal();
  return id;
}

bool TimerQueue::Cancel(TimerId id) {
  // Destroyed after the lock is gone: a callback may hold what locks again.
  decltype(timers_)::node_type cancelled;
  MutexLock lock(&mutex_);
  cancelled = timers_.extract(id);
  return !cancelled.empty();
}

void TimerQueue::ThreadLoop() {
  while (true) {
    decltype(timers_)::node_type due;
    {
      MutexLock lock(&mutex_);
      while (due.empty()) {
        if (stopping_) return;
        if (timers_.empty()) {
          wakes_at_ = SteadyClock::time_point::max();
          changed_.Wait(&mutex_);
          wakes_at_ = SteadyClock::time_point::min();
          continue;
        }
        const auto first = timers_.begin();
        const auto until = first->first.time_ - SteadyClock::now();
        if (until <= SteadyClock::duration::zero()) {
          due = timers_.extract(first);
        } else {
          wakes_at_ = first->first.time_;
          changed_.WaitWithDeadline(&mutex_,
                                    absl::Now() + absl::FromChrono(until));
          wakes_at_ = SteadyClock::time_point::min();
        }
      }
    }
    due.mapped()();
  }
}

}  // namespace accrue
