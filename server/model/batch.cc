#include "server/model/batch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace accrue {
namespace {

bool Gathers(const rule::RuleSpec& rule) {
  return rule.buffering == rule::Buffering::kGather;
}

}  // namespace

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

void AddHeldPush(const std::vector<rule::RuleSpec>& rules,
                 std::unique_ptr<Push> push, Held held, Batch& batch) {
  const int64_t micro_steps = held->facts.micro_steps;
  batch.folded_pushes += micro_steps;
  for (size_t g = 0; g < rules.size(); ++g) {
    rule::CycleState& cycle = batch.cycles[g];
    const int64_t came = cycle.since_update + micro_steps;
    if (!rule::HoldPush(rules[g], micro_steps, cycle)) continue;
    batch.updated.push_back(static_cast<int32_t>(g));
    batch.missing.push_back(rules[g].update_every - came);
  }
  batch.held.push_back(std::move(held));

  Batch::Item item;
  item.outcome.folded_pushes = batch.folded_pushes;
  for (size_t g = 0; g < rules.size(); ++g) {
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
    batch.updated.push_back(static_cast<int32_t>(g));
    batch.missing.push_back(missing);
    if (Gathers(rules[g])) continue;
    rule::ClosePlan plan = rule::PlanClose(rules[g], cycle);
    kernels::GroupPass& group = batch.pass.groups[g];
    group.look_ahead = plan.look_ahead;
    group.buffer_fold = plan.buffer_fold;
    group.update = plan.update;
  }
}

void PlanGathered(Batch& batch) {
  const Batch::Gathered gathered = *std::exchange(batch.gathered, std::nullopt);
  Gathering::Cycle cycle = Gathering::InFoldOrder(gathered.open);
  for (size_t i = 0; i < batch.updated.size(); ++i) {
    const auto g = static_cast<size_t>(batch.updated[i]);
    std::vector<rule::PushFacts> facts;
    facts.reserve(cycle.of_group[i].size());
    for (const int32_t p : cycle.of_group[i]) {
      facts.push_back(cycle.pushes[static_cast<size_t>(p)]->FactsOf(g));
    }
    const rule::RuleSpec& rule = gathered.rules[i];
    rule::CycleState& state = batch.cycles[g];
    rule::GatherPlan plan = rule::PlanGather(rule, facts, state);
    kernels::GroupPass& group = batch.pass.groups[g];
    group.pushes = std::move(plan.pushes);
    group.payloads = std::move(cycle.of_group[i]);
    group.look_ahead = plan.close.look_ahead;
    group.buffer_fold = plan.close.buffer_fold;
    group.update = plan.close.update;
    if (batch.items.empty()) continue;
    // Of the push that completed the cycle.
    batch.items.back().outcome.groups[g] = {state.updates, state.position,
                                            rule.k};
  }
  TakeFolding(std::move(cycle.pushes), batch);
}

void TakeFolding(std::vector<Held> folding, Batch& batch) {
  for (const Held& held : folding) {
    batch.pass.payloads.push_back({&held->payload, held->encoding});
  }
  batch.folding = std::move(folding);
}

}  // namespace accrue
