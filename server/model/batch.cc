#include "server/model/batch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace accrue {

Batch NewBatch(const std::vector<rule::RuleSpec>& rules,
               const std::vector<rule::CycleState>& cycles,
               int64_t folded_pushes) {
  Batch batch;
  batch.cycles = cycles;
  batch.folded_pushes = folded_pushes;
  batch.pass.groups.resize(rules.size());
  for (size_t g = 0; g < rules.size(); ++g) {
    kernels::GroupPass& group = batch.pass.groups[g];
    group.optimizer = rules[g].optimizer;
    group.epsilon_place = rules[g].epsilon_place;
    group.buffering = rules[g].buffering;
    group.nesterov = rules[g].nesterov;
    if (rules[g].clip_scope == rule::ClipScope::kModel) {
      batch.pass.clip_over_groups = true;
    }
  }
  return batch;
}

void AddPush(const std::vector<rule::RuleSpec>& rules,
             std::unique_ptr<Push> push, double weight, double gain_factor,
             Batch& batch) {
  const PushHeader& header = push->header;
  rule::PushFacts facts;
  facts.micro_steps = header.micro_steps;
  facts.weight = weight;
  facts.gain_factor = gain_factor;
  facts.scale = header.scale;
  batch.folded_pushes += header.micro_steps;
  batch.pass.payloads.push_back({&push->payload, header.encoding});

  Batch::Item item;
  item.outcome.folded_pushes = batch.folded_pushes;
  for (size_t g = 0; g < rules.size(); ++g) {
    facts.norm = std::sqrt(push->group_square_sums[g]) / header.scale;
    const int64_t came = batch.cycles[g].since_update + header.micro_steps;
    rule::PushPlan plan = rule::PlanPush(rules[g], facts, batch.cycles[g]);
    kernels::GroupPass& group = batch.pass.groups[g];
    group.pushes.push_back(plan.push);
    if (plan.look_ahead.has_value()) {
      group.look_ahead = plan.look_ahead;
      if (rules[g].buffering == rule::Buffering::kEmbedded) {
        batch.looking_ahead.push_back(static_cast<int32_t>(g));
      }
    }
    if (plan.buffer_fold.has_value()) group.buffer_fold = plan.buffer_fold;
    if (plan.update.has_value()) {
      group.update = plan.update;
      batch.updated.push_back(static_cast<int32_t>(g));
      batch.missing.push_back(rules[g].update_every - came);
    }
    const rule::CycleState& cycle = batch.cycles[g];
    item.outcome.groups.push_back({cycle.updates, cycle.position, rules[g].k});
  }
  item.push = std::move(push);
  batch.items.push_back(std::move(item));
}

void AddClose(const std::vector<rule::RuleSpec>& rules, bool all,
              Batch& batch) {
  int64_t nearest = std::numeric_limits<int64_t>::max();
  for (size_t g = 0; g < rules.size(); ++g) {
    if (batch.cycles[g].position == 0) continue;
    nearest =
        std::min(nearest, rules[g].update_every - batch.cycles[g].position);
  }
  for (size_t g = 0; g < rules.size(); ++g) {
    rule::CycleState& cycle = batch.cycles[g];
    if (cycle.position == 0) continue;
    if (!all && rules[g].update_every - cycle.position > nearest) {
      rule::SkipPushes(nearest, cycle);
      continue;
    }
    // Those that earlier closes of other groups skipped are missing too.
    const int64_t missing = rules[g].update_every - cycle.since_update;
    rule::ClosePlan plan = rule::PlanClose(rules[g], cycle);
    kernels::GroupPass& group = batch.pass.groups[g];
    group.look_ahead = plan.look_ahead;
    group.buffer_fold = plan.buffer_fold;
    group.update = plan.update;
    batch.updated.push_back(static_cast<int32_t>(g));
    batch.missing.push_back(missing);
  }
}

}  // namespace accrue
