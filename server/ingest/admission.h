// Admission: the memory that payloads may take, and who gets it next.
//
// A request is granted at once if it fits and nobody is before it. What does
// not fit waits: first in, first out within a model; the models that wait form
// a ring, and a grant sends its model to the ring's end. A head that does not
// fit is overtaken by the models behind it, but only by as many bytes as it
// wants itself and only for `patience`: from then on what comes free is saved
// up for it. So small pushes do not queue behind a large one, and cannot starve
// it either.
//
// Units.     bytes of budget; see ChargeOf.
// Invariant. reserved_bytes() <= budget_bytes. A ring's model has a waiter.
// Order.     never blocks. `granted` is called with no lock of ours held, but
//            from whatever thread gave memory back, under whatever locks that
//            one holds: it must only take note. mu_ is a leaf.
// Threading. safe; reservations keep what they need alive.
#ifndef ACCRUE_SERVER_INGEST_ADMISSION_H_
#define ACCRUE_SERVER_INGEST_ADMISSION_H_

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/memory_ledger.h"
#include "server/base/mutex.h"

namespace accrue {

// All chunks of a payload but the first and the last have at least this size,
// which bounds the number of messages before they come.
inline constexpr int64_t kMinChunkBytes = 16 << 10;

class Admission : public std::enable_shared_from_this<Admission> {
 public:
  struct Options {
    int64_t budget_bytes = 0;
    absl::Duration patience = absl::Seconds(5);
    // What waiting requests may hold together of payloads that came with their
    // headers. Those of up to kFreeHeldBytes do not count: they are no more
    // than the transport would buffer.
    int64_t max_held_bytes = 32 << 20;
  };
  static constexpr int64_t kFreeHeldBytes = 64 << 10;

  // Memory granted; given back when the last reference goes.
  using Reservation = std::shared_ptr<void>;
  using Granted = absl::AnyInvocable<void(Reservation)>;
  struct Waiter;
  using Ticket = std::shared_ptr<Waiter>;
  // Either a reservation, or a ticket of a request that waits.
  struct Answer {
    Reservation reservation;
    Ticket ticket;
  };

  Admission(const Options& options, MemoryLedger* ledger);

  // What a payload is charged: its bytes and 512 for each message that it may
  // come in.
  static int64_t ChargeOf(int64_t payload_bytes);

  // `model` tells models apart; `held_bytes` are here already. A request for
  // more than the whole budget is granted when it can have all of it.
  // RESOURCE_EXHAUSTED kIngestMemory: it would have to wait and holds too much.
  absl::StatusOr<Answer> Ask(const void* model, int64_t bytes,
                             int64_t held_bytes, Granted granted)
      ACCRUE_EXCLUDES(mu_);

  // The request waits no longer. `granted` may be on its way all the same.
  void Cancel(const Ticket& ticket) ACCRUE_EXCLUDES(mu_);

  int64_t reserved_bytes() const ACCRUE_EXCLUDES(mu_);
  int64_t waiting_count() const ACCRUE_EXCLUDES(mu_);

 private:
  using Clock = std::chrono::steady_clock;
  class Held;
  // The waiting requests of one model, in the order in which they came.
  struct Line {
    const void* model;
    std::list<Ticket> waiters;
  };
  struct Grant {
    Granted granted;
    Reservation reservation;
  };

  void GiveBack(int64_t bytes) ACCRUE_EXCLUDES(mu_);
  Reservation Reserve(int64_t bytes) ACCRUE_REQUIRES(mu_);
  void Join(const void* model, const Ticket& ticket) ACCRUE_REQUIRES(mu_);
  void Remove(const Ticket& ticket) ACCRUE_REQUIRES(mu_);
  std::vector<Grant> GrantWhatFits() ACCRUE_REQUIRES(mu_);
  bool GrantNext(std::vector<Grant>& grants) ACCRUE_REQUIRES(mu_);
  bool Fits(int64_t bytes) const ACCRUE_REQUIRES(mu_);
  bool MustBeNext(const Waiter& waiter) const;

  const Options options_;
  const MemoryLedger ledger_;  // a child: charges outlive the parent
  mutable Mutex mu_;
  int64_t reserved_bytes_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t held_bytes_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t waiting_count_ ACCRUE_GUARDED_BY(mu_) = 0;
  std::list<Line> ring_ ACCRUE_GUARDED_BY(mu_);
  absl::flat_hash_map<const void*, std::list<Line>::iterator> lines_
      ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_ADMISSION_H_
