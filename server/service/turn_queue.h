// TurnQueue: work that waits for the disk, of which a few pieces go on at once.
// What comes beyond those waits in a queue, and keeps no thread of the pool.
//
// Order.     pieces start in the order in which they came
// Threading. safe. The pool outlives the turns
#ifndef ACCRUE_SERVER_SERVICE_TURN_QUEUE_H_
#define ACCRUE_SERVER_SERVICE_TURN_QUEUE_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "server/base/work_pool.h"

namespace accrue {

class TurnQueue {
 public:
  // The next piece's begins when the last copy of this one goes.
  using Turn = std::shared_ptr<const void>;
  using Work = absl::AnyInvocable<void(Turn turn)>;

  TurnQueue(WorkPool* pool, int turns);

  // Calls work(turn) on the pool, on a thread that may wait (WorkPool::Waiting)
  // but not for the pool's work: what goes on in callbacks keeps its turn.
  void Post(Work work);

 private:
  struct State;
  static void Begin(const std::shared_ptr<State>& state, Work work);
  static void End(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_TURN_QUEUE_H_
