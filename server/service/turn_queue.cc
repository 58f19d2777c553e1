#include "server/service/turn_queue.h"

#include <deque>
#include <utility>

#include "server/base/mutex.h"

namespace accrue {

struct TurnQueue::State {
  State(WorkPool* pool, int turns)
      : pool(pool), lane(pool->NewLane()), free(turns) {}

  WorkPool* const pool;
  const WorkPool::Lane lane;
  Mutex mutex;
  int free ACCRUE_GUARDED_BY(mutex);  // 0 where any is queued
  std::deque<Work> queue ACCRUE_GUARDED_BY(mutex);
};

TurnQueue::TurnQueue(WorkPool* pool, int turns)
    : state_(std::make_shared<State>(pool, turns)) {}

void TurnQueue::Post(Work work) {
  {
    MutexLock lock(&state_->mutex);
    if (state_->free == 0) {
      state_->queue.push_back(std::move(work));
      return;
    }
    --state_->free;
  }
  Begin(state_, std::move(work));
}

void TurnQueue::Begin(const std::shared_ptr<State>& state, Work work) {
  state->pool->Post(state->lane, [state, work = std::move(work)]() mutable {
    const WorkPool::Waiting waiting;
    work(Turn(state.get(), [state](const void*) { End(state); }));
  });
}

void TurnQueue::End(const std::shared_ptr<State>& state) {
  Work next;
  {
    MutexLock lock(&state->mutex);
    if (state->queue.empty()) {
      ++state->free;
      return;
    }
    next = std::move(state->queue.front());
    state->queue.pop_front();
  }
  Begin(state, std::move(next));
}

}  // namespace accrue
