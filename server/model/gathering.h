// Gathering: the pushes that a model under GATHER buffering holds, as they were
// received, until the cycle of every group that needs them has been folded.
//
// Order.     a push is held, and acknowledged, in the order of acceptance. It
//            is folded in another: by its worker's name, then in the order in
//            which that worker pushed (its sequences, session after session).
//            So no bit depends on who came first.
// Memory.    the host's, apart from the ingest budget, whose reservation ends
//            when a push is held; charged as MemoryTag::kGathered. GatherBytes
//            bounds it. Payloads were copied into memory of their own when they
//            arrived: what a transport reads with may be far larger than what
//            came in it, and shared with others.
// Threading. compatible (the model's lock); what is held is immutable.
#ifndef ACCRUE_SERVER_MODEL_GATHERING_H_
#define ACCRUE_SERVER_MODEL_GATHERING_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "server/base/byte_chain.h"
#include "server/base/memory_ledger.h"
#include "server/kernels/encoding.h"
#include "server/model/push.h"
#include "server/model/push_gate.h"
#include "server/model/spec.h"
#include "server/rule/cycle.h"

namespace accrue {

struct HeldPush {
  std::string worker;
  ByteChain payload;
  kernels::Encoding encoding = kernels::Encoding::kF32;
  rule::PushFacts facts;                  // without a norm
  std::vector<double> group_square_sums;  // [groups], as Push's
  MemoryLedger::Charge charge;

  // As group `group` sees it.
  rule::PushFacts FactsOf(size_t group) const;
};

using Held = std::shared_ptr<const HeldPush>;

// Takes the payload out of a push that was accepted.
Held HoldPush(Push& push, const Passed& passed, const MemoryLedger& ledger);
// Charges a push, whose payload is there, for what holding it takes.
void ChargeHeld(HeldPush& push, const MemoryLedger& ledger);

class Gathering {
 public:
  explicit Gathering(size_t group_count) : begins_(group_count, 0) {}

  // What `groups` fold: every push of the cycle of one of them, with `newest`,
  // which are not held yet, in the order of acceptance.
  struct Open {
    std::vector<Held> pushes;
    // [groups given] index in `pushes` of the first of each one's own.
    std::vector<size_t> begins;
  };
  Open OpenCycles(const std::vector<int32_t>& groups,
                  const std::vector<Held>& newest) const;
  // The same in the order of the fold. It sorts: not for callers with a lock.
  struct Cycle {
    std::vector<Held> pushes;
    // [groups given] indices in `pushes` of each one's own, ascending.
    std::vector<std::vector<int32_t>> of_group;
  };
  static Cycle InFoldOrder(const Open& open);

  // Holds `newest` too, then ends the cycles of `folded`. Returns what nobody
  // needs any more, to be let go of without the lock.
  std::vector<Held> Advance(std::vector<Held> newest,
                            const std::vector<int32_t>& folded);

  // What is held, and [groups] the index in it of the first push of each one's
  // cycle; its size where it has none.
  Open All() const;
  // As another's All was. Before anything is held.
  void Restore(Open open);

  // Lets go of everything.
  std::vector<Held> Clear();

  int64_t size() const { return static_cast<int64_t>(held_.size()); }

 private:
  int64_t end() const { return first_ + size(); }

  std::deque<Held> held_;  // in the order of acceptance
  int64_t first_ = 0;      // how many were held before the first of them
  // [groups] where in that order the pushes of its cycle begin.
  std::vector<int64_t> begins_;
};

// Whether pushes stay after they have been answered. Then their payloads must
// come in memory of their own.
inline bool KeepsPayloads(const ModelSpec& spec) {
  return spec.optimizer.buffering == rule::Buffering::kGather;
}

// What holding a push takes: its payload, a KeptCopy whose last piece the
// allocator may round up (by an eighth, or 32 KiB), and its record, with a norm
// for each group.
int64_t HeldBytes(int64_t payload_bytes, int64_t group_count);

// The most pushes that gathering may hold for a model of so many groups: a
// checkpoint's manifest lists them, with a norm for each group, and has room
// for about four million of those beside half of MostSessions. 37,117 of one
// group, 3,771 of 1000.
int64_t MostHeldPushes(int64_t group_count);

// The pushes that gathering holds for one group: those of its longest cycle.
int64_t LongestCycle(const GroupSpec& group);

// The most that gathering holds at once under `spec`: k pushes in whatever
// encoding takes most, of the group with the longest cycle. 0 without GATHER.
int64_t GatherBytes(const ModelSpec& spec);

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_GATHERING_H_
