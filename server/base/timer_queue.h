// TimerQueue: calls functions at given times, from one thread of its own.
//
// Order.     by time. Callbacks run one after another with no lock held, and
//            must be short
// Units.     deadlines are wall-clock times as of At(); a later step of that
//            clock does not move them
// Threading. safe; callbacks may call At() and Cancel(). Destruction drops what
//            is not due and waits for a callback that runs, so it must not
//            happen inside one

#ifndef ACCRUE_SERVER_BASE_TIMER_QUEUE_H_
#define ACCRUE_SERVER_BASE_TIMER_QUEUE_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace accrue {

// Names one call of At(); a default one names none. It carries its time, so
// that to cancel is one look-up in an ordered map: thousands of timers that are
// mostly cancelled stay cheap.
class TimerId {
 public:
  TimerId() = default;
  friend bool operator==(const TimerId&, const TimerId&) = default;
  friend auto operator<=>(const TimerId&, const TimerId&) = default;

 private:
  friend class TimerQueue;
  using Time = std::chrono::steady_clock::time_point;
  TimerId(Time time, int64_t number) : time_(time), number_(number) {}

  Time time_{};
  int64_t number_ = 0;  // tells timers of one time apart; from 1
};

class TimerQueue {
 public:
  TimerQueue();
  ~TimerQueue();
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // Stops: waits for a callback that runs, drops what is not due. Later At()s
  // are dropped too. For a shutdown in which others may still set timers.
  void Stop() ACCRUE_EXCLUDES(mutex_);

  // Calls `callback` at `time`, at once where that has passed.
  TimerId At(absl::Time time, absl::AnyInvocable<void()> callback)
      ACCRUE_EXCLUDES(mutex_);

  // True if the callback will now never run. False if it ran, runs right now
  // (Cancel does not wait for it), or was cancelled before.
  bool Cancel(TimerId id) ACCRUE_EXCLUDES(mutex_);

 private:
  void ThreadLoop() ACCRUE_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;  // a timer before wakes_at_, or stopping
  std::map<TimerId, absl::AnyInvocable<void()>> timers_
      ACCRUE_GUARDED_BY(mutex_);
  int64_t last_number_ ACCRUE_GUARDED_BY(mutex_) = 0;
  // Until when the thread sleeps unless it is woken; min() while it is awake.
  TimerId::Time wakes_at_ ACCRUE_GUARDED_BY(mutex_) = TimerId::Time::min();
  bool stopping_ ACCRUE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_TIMER_QUEUE_H_
