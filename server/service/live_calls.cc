#include "server/service/live_calls.h"

#include <utility>

namespace accrue {

LiveCalls::Entry::Entry(Entry&& other) noexcept
    : calls_(std::exchange(other.calls_, nullptr)), place_(other.place_) {}

LiveCalls::Entry& LiveCalls::Entry::operator=(Entry&& other) noexcept {
  std::swap(calls_, other.calls_);
  std::swap(place_, other.place_);
  return *this;
}

LiveCalls::Entry::~Entry() {
  if (calls_ != nullptr) calls_->Leave(place_);
}

LiveCalls::Entry LiveCalls::Enter(std::weak_ptr<Waiter> waiter) {
  Entry entry;
  entry.calls_ = this;
  MutexLock lock(&mutex_);
  entry.place_ = calls_.insert(calls_.end(), std::move(waiter));
  return entry;
}

void LiveCalls::EndWaiting() {
  std::list<std::weak_ptr<Waiter>> waiters;
  {
    MutexLock lock(&mutex_);
    draining_ = true;
    waiters = calls_;
  }
  for (const std::weak_ptr<Waiter>& weak : waiters) {
    if (const std::shared_ptr<Waiter> waiter = weak.lock()) waiter->OnDrain();
  }
}

bool LiveCalls::draining() const {
  MutexLock lock(&mutex_);
  return draining_;
}

void LiveCalls::WhenNone(std::function<void()> done) {
  {
    MutexLock lock(&mutex_);
    if (!calls_.empty()) {
      when_none_ = std::move(done);
      return;
    }
  }
  done();
}

int64_t LiveCalls::count() const {
  MutexLock lock(&mutex_);
  return static_cast<int64_t>(calls_.size());
}

void LiveCalls::Leave(std::list<std::weak_ptr<Waiter>>::iterator place) {
  std::function<void()> done;
  {
    MutexLock lock(&mutex_);
    calls_.erase(place);
    if (calls_.empty()) done = std::exchange(when_none_, nullptr);
  }
  if (done) done();
}

}  // namespace accrue
