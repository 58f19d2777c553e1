// Strand: runs a stream's events one at a time, in the order in which they
// came, on whichever thread brings them. Nobody waits for anybody.
//
// A thread that finds the strand busy leaves its event to the one that runs.
//
// Order.     no lock is held while an event runs: it may call models,
//            admission, timers, transports. mu_ is a leaf: nothing is locked
//            under it, so Leave may be called under any lock.
// Threading. safe. Whoever calls Run or RunQueued keeps the strand alive
//            until it returns.
#ifndef ACCRUE_SERVER_INGEST_STRAND_H_
#define ACCRUE_SERVER_INGEST_STRAND_H_

#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "server/base/mutex.h"

namespace accrue {

class Strand {
 public:
  // Runs `event` now, or on the thread that is running one.
  template <typename Event>
  void Run(Event&& event) ACCRUE_EXCLUDES(mu_) {
    if (!Enter(event)) return;
    event();
    RunQueued();
  }

  // Takes note of `event` without running anything. True: nobody runs, and the
  // caller owes a RunQueued from a thread that holds no lock.
  [[nodiscard]] bool Leave(absl::AnyInvocable<void()> event)
      ACCRUE_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    queued_.push_back(std::move(event));
    return !std::exchange(busy_, true);
  }

  // Runs what is queued; then the strand is free.
  void RunQueued() ACCRUE_EXCLUDES(mu_) {
    std::vector<absl::AnyInvocable<void()>> events;
    while (TakeQueued(events)) {
      for (auto& event : events) event();
      events.clear();
    }
  }

 private:
  template <typename Event>
  bool Enter(Event& event) ACCRUE_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    if (!std::exchange(busy_, true)) return true;
    queued_.emplace_back(std::move(event));
    return false;
  }

  bool TakeQueued(std::vector<absl::AnyInvocable<void()>>& events)
      ACCRUE_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    events.swap(queued_);
    busy_ = !events.empty();
    return busy_;
  }

  Mutex mu_;
  bool busy_ ACCRUE_GUARDED_BY(mu_) = false;
  std::vector<absl::AnyInvocable<void()>> queued_ ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_STRAND_H_
