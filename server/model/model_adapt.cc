// ModelImpl's adaptive k: changed between cycles, by what updates have shown of
// the noise.
#include <algorithm>
#include <cstdint>

#include "server/base/logging.h"
#include "server/model/model_impl.h"
#include "server/rule/adaptive_k.h"

namespace accrue {

// Where cycles nest, when all of them are at their beginnings: a shorter cycle
// that began in the middle of a longer one might not end with it.
void ModelImpl::AdaptK(Batch& batch) {
  const bool nested = spec_.max_staleness == 0 && rules_.size() > 1;
  const auto is_open = [](const rule::CycleState& cycle) {
    return cycle.position > 0;
  };
  if (nested && std::any_of(cycles_.begin(), cycles_.end(), is_open)) return;
  rule::KFit fit;
  fit.micro_steps = batch.recent_micro_steps.LeastCommonMultiple(window_);
  for (const int32_t g : batch.updated) {
    const auto& policy = spec_.groups[g].adaptive_k;
    const auto& reading = noise_[g];
    if (!policy.has_value() || !reading.has_value() ||
        reading->updates != cycles_[g].updates) {
      continue;
    }
    if (nested && fit.nesting == 0) {
      fit.nesting = rule::SmallestK(rules_, AdaptivePolicies(spec_));
    }
    rule::KChange change;
    change.group = g;
    change.from = rules_[g].k;
    change.variation = reading->variation;
    fit.seen_from =
        rule::SeenFrom(rules_[g], reading->estimate, layout_->group_elems()[g]);
    change.to = rule::NextK(*policy, change.from, change.variation, fit);
    change.updates = cycles_[g].updates;
    if (change.to == change.from) continue;
    rules_[g].k = rules_[g].update_every = change.to;
    if (!batch.items.empty()) {
      batch.items.back().outcome.groups[g].k = change.to;
    }
    batch.k_changes.push_back(change);
    k_changes_.push_back(change);
    if (k_changes_.size() > kKeptKChanges) k_changes_.pop_front();
  }
}

void ModelImpl::LogKChanges(const Batch& batch) const {
  for (const rule::KChange& change : batch.k_changes) {
    ACCRUE_LOG(info,
               "model \"{}\", group \"{}\": k {} -> {} after update {}, its "
               "gradients' variation being {} {}",
               name(), spec_.groups[change.group].name, change.from, change.to,
               change.updates, change.variation.at_least ? "at least" : "about",
               change.variation.value);
  }
}

}  // namespace accrue
