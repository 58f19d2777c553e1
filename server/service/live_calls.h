// LiveCalls: the calls that are in progress, so that a drain can end those that
// only wait and knows when the others are over.
//
// Threading. safe.

#ifndef ACCRUE_SERVER_SERVICE_LIVE_CALLS_H_
#define ACCRUE_SERVER_SERVICE_LIVE_CALLS_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "server/base/mutex.h"

namespace accrue {

// A call that may wait long for something to happen.
class Waiter {
 public:
  virtual ~Waiter() = default;
  // The server is about to leave: if the call still waits, it answers
  // UNAVAILABLE DRAINING now. Any thread, no lock held.
  virtual void OnDrain() = 0;
};

class LiveCalls {
 public:
  // A call, from its beginning to its end.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept;
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();

   private:
    friend class LiveCalls;
    LiveCalls* calls_ = nullptr;
    std::list<std::weak_ptr<Waiter>>::iterator place_;
  };

  // `waiter` may be null: a call that ends by itself.
  Entry Enter(std::weak_ptr<Waiter> waiter = {});

  // Calls OnDrain of all waiters; from then on draining() is true, and a call
  // that would begin to wait must not.
  void EndWaiting();
  bool draining() const;

  // Runs `done` as soon as there is no call; at once if there is none now.
  void WhenNone(std::function<void()> done);
  int64_t count() const;

 private:
  void Leave(std::list<std::weak_ptr<Waiter>>::iterator place);

  mutable Mutex mutex_;
  std::list<std::weak_ptr<Waiter>> calls_ ACCRUE_GUARDED_BY(mutex_);
  bool draining_ ACCRUE_GUARDED_BY(mutex_) = false;
  std::function<void()> when_none_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_LIVE_CALLS_H_
