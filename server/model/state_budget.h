// StateBudget: what all models of a server may come to hold together
// (--state_memory), and who has reserved how much of it. What a lost GPU keeps
// pinned is nobody's any more, and taken for good.
//
// Units.     bytes
// Invariant. what is reserved never exceeds what the budget was made with
// Threading. safe; its lock is a leaf. Reservations keep it alive
#ifndef ACCRUE_SERVER_MODEL_STATE_BUDGET_H_
#define ACCRUE_SERVER_MODEL_STATE_BUDGET_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/base/memory_ledger.h"
#include "server/base/mutex.h"

namespace accrue {

class StateBudget : public std::enable_shared_from_this<StateBudget> {
 public:
  // `ledger`: whose kept bytes are taken; it outlives all reserving. Null:
  // none.
  StateBudget(int64_t budget_bytes, const MemoryLedger* ledger)
      : budget_bytes_(budget_bytes), ledger_(ledger) {}

  // Given back when the last reference goes.
  using Reservation = std::shared_ptr<void>;

  // `what`: "state and publications". RESOURCE_EXHAUSTED kStateMemory: so much
  // is not left.
  absl::StatusOr<Reservation> Reserve(const std::string& model,
                                      absl::string_view what, int64_t bytes)
      ACCRUE_EXCLUDES(mu_);

  // And what is taken for good.
  int64_t reserved_bytes() const ACCRUE_EXCLUDES(mu_);

 private:
  int64_t TakenBytes() const ACCRUE_REQUIRES(mu_);

  const int64_t budget_bytes_;
  const MemoryLedger* const ledger_;
  mutable Mutex mu_;
  int64_t reserved_bytes_ ACCRUE_GUARDED_BY(mu_) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_STATE_BUDGET_H_
