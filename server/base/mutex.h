// Mutex, MutexLock, CondVar: std::mutex that clang's -Wthread-safety checks.
//
// All of Accrue locks with these: ThreadSanitizer understands std::mutex, while
// Debian's absl::Mutex is not instrumented and would report races that are
// none.
//
// Threading. safe

#ifndef ACCRUE_SERVER_BASE_MUTEX_H_
#define ACCRUE_SERVER_BASE_MUTEX_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#if defined(__clang__)
#define ACCRUE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define ACCRUE_THREAD_ANNOTATION(x)
#endif

// On data: read and written only under the mutex (the pointee: PT).
#define ACCRUE_GUARDED_BY(x) ACCRUE_THREAD_ANNOTATION(guarded_by(x))
#define ACCRUE_PT_GUARDED_BY(x) ACCRUE_THREAD_ANNOTATION(pt_guarded_by(x))
// On functions: the caller holds / must not hold / is given / gives back.
#define ACCRUE_REQUIRES(...) \
  ACCRUE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACCRUE_EXCLUDES(...) \
  ACCRUE_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define ACCRUE_ACQUIRE(...) \
  ACCRUE_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ACCRUE_RELEASE(...) \
  ACCRUE_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define ACCRUE_TRY_ACQUIRE(...) \
  ACCRUE_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define ACCRUE_ASSERT_CAPABILITY(x) \
  ACCRUE_THREAD_ANNOTATION(assert_capability(x))
#define ACCRUE_RETURN_CAPABILITY(x) ACCRUE_THREAD_ANNOTATION(lock_returned(x))
// On mutexes: the order in which they are taken.
#define ACCRUE_ACQUIRED_BEFORE(...) \
  ACCRUE_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
#define ACCRUE_ACQUIRED_AFTER(...) \
  ACCRUE_THREAD_ANNOTATION(acquired_after(__VA_ARGS__))
#define ACCRUE_CAPABILITY(x) ACCRUE_THREAD_ANNOTATION(capability(x))
#define ACCRUE_SCOPED_CAPABILITY ACCRUE_THREAD_ANNOTATION(scoped_lockable)
// For code whose locking the analysis cannot follow; say why beside it.
#define ACCRUE_NO_THREAD_SAFETY_ANALYSIS \
  ACCRUE_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace accrue {

class ACCRUE_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ACCRUE_ACQUIRE() { mutex_.lock(); }
  void Unlock() ACCRUE_RELEASE() { mutex_.unlock(); }
  bool TryLock() ACCRUE_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

  // Tells the analysis what it cannot see (inside a callback, say); checks
  // nothing at run time.
  void AssertHeld() const ACCRUE_ASSERT_CAPABILITY(this) {}

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds a mutex for a scope.
class ACCRUE_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ACCRUE_ACQUIRE(mutex) : mutex_(mutex) {
    mutex_->Lock();
  }
  ~MutexLock() ACCRUE_RELEASE() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// Waits may wake without cause: wait in a loop over the condition.
class CondVar {
 public:
  CondVar() = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  void Wait(Mutex* mutex) ACCRUE_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }

  // Returns true once `deadline` has passed. Waits on the steady clock, so that
  // a step of the wall clock during the wait neither shortens nor extends it.
  bool WaitWithDeadline(Mutex* mutex, absl::Time deadline)
      ACCRUE_REQUIRES(mutex) {
    // Bounded, since the arithmetic of std::chrono would overflow on
    // absl::InfiniteFuture().
    const absl::Duration timeout =
        std::min(deadline - absl::Now(), absl::Hours(1));
    if (timeout <= absl::ZeroDuration()) return true;
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait_until(lock, std::chrono::steady_clock::now() +
                                    absl::ToChronoNanoseconds(timeout));
    lock.release();
    return absl::Now() >= deadline;
  }

  void Signal() { condition_.notify_one(); }
  void SignalAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_MUTEX_H_
