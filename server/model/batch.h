// Batch: the pushes (or the close) that one pass applies, and what the model
// will be after it. Planning changes nothing but the batch.
//
// Order.     pushes in the order of acceptance; a batch ends at the first
//            update of any group in it.
// Invariant. the outcomes are those of folding the pushes one by one.
// Threading. compatible.
#ifndef ACCRUE_SERVER_MODEL_BATCH_H_
#define ACCRUE_SERVER_MODEL_BATCH_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "server/kernels/shard.h"
#include "server/model/gathering.h"
#include "server/model/push.h"
#include "server/rule/adaptive_k.h"
#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"

namespace accrue {

struct Batch {
  struct Item {
    std::unique_ptr<Push> push;
    PushOutcome outcome;  // version and published: filled in by the model
  };
  std::vector<Item> items;
  std::vector<rule::CycleState> cycles;  // [groups] after the batch
  int64_t folded_pushes = 0;             // t after the batch
  kernels::Pass pass;                    // theta and next: the model's
  std::vector<int32_t> updated;          // groups that it updates
  std::vector<int32_t> looking_ahead;    // groups whose next it begins
  // Parallel to updated: pushes of the cycle that never came.
  std::vector<int64_t> missing;
  // As they are when it starts: its changes of k go by them. Pushes that come
  // later meet the k that there is then.
  rule::RecentMicroSteps recent_micro_steps;
  std::vector<rule::KChange> k_changes;  // made when it was committed

  std::vector<bool> measured;  // parallel to updated: |m|^2 is
  // Copies of the next publication that the pass makes.
  struct Copy {
    int32_t group = 0;
    kernels::Encoding encoding = kernels::Encoding::kBf16;
  };
  std::vector<Copy> copies;

  // Under GATHER: the items' payloads, to be held; what the updates are folded
  // from, until that is planned, with their groups' rules; and what the pass
  // reads, kept until it has ended.
  struct Gathered {
    Gathering::Open open;
    std::vector<rule::RuleSpec> rules;  // parallel to updated
  };
  std::vector<Held> held;
  std::optional<Gathered> gathered;
  std::vector<Held> folding;

  bool publishes() const { return !updated.empty(); }
  // Whether a shard has anything to do: not where pushes are only held.
  bool folds() const { return publishes() || !pass.payloads.empty(); }
};

// A batch of nothing, from where the model is now.
Batch NewBatch(const std::vector<rule::RuleSpec>& rules,
               const std::vector<rule::CycleState>& cycles,
               int64_t folded_pushes);

// Adds a push that has been accepted. `weight` is relative to the nominal one;
// `gain_factor` damps a stale push.
void AddPush(const std::vector<rule::RuleSpec>& rules,
             std::unique_ptr<Push> push, double weight, double gain_factor,
             Batch& batch);

// The same under GATHER, of a push that was made into `held`. What it completes
// is planned by PlanGathered.
void AddHeldPush(const std::vector<rule::RuleSpec>& rules,
                 std::unique_ptr<Push> push, Held held, Batch& batch);

// Closes cycles early, in an empty batch. All open ones to their end; or (not
// `all`) only as many pushes as the next update of any group is away, so that
// nested cycles stay nested.
// Under GATHER PlanGathered must follow.
void AddClose(const std::vector<rule::RuleSpec>& rules, bool all, Batch& batch);

// GATHER: plans the updates from what was taken as `gathered`. For many pushes
// and groups it takes long: not for callers with a lock.
void PlanGathered(Batch& batch);
// What a batch that is planned folds, in the order of the fold.
void TakeFolding(std::vector<Held> folding, Batch& batch);

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_BATCH_H_
