#include "server/durability/state_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/base/status_macros.h"
#include "server/kernels/encoding.h"
#include "server/model/gathering.h"
#include "server/model/session_table.h"
#include "server/rule/cycle.h"
#include "server/rule/groups.h"

namespace accrue {
namespace {

constexpr size_t kMaxWorkerName = 255;

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("state: ", what));
}

// As a part of `where`.
absl::Status Want(bool is_so, absl::string_view where, absl::string_view want) {
  return is_so ? absl::OkStatus() : Wrong(absl::StrCat(where, ": want ", want));
}

// `status` as a part of `where`.
absl::Status In(absl::string_view where, const absl::Status& status) {
  constexpr absl::string_view kPrefix = "state: ";
  if (status.ok()) return status;
  absl::string_view what = status.message();
  absl::ConsumePrefix(&what, kPrefix);
  return Wrong(absl::StrCat(where, what));
}

bool IsAmount(double value) { return std::isfinite(value) && value >= 0; }

bool IsK(int64_t k) { return k >= 1 && k <= rule::kMaxK; }

bool AreFinite(const rule::NoiseSums& sums) {
  return std::isfinite(sums.mass) && std::isfinite(sums.squares) &&
         std::isfinite(sums.power) && std::isfinite(sums.step_share);
}

// That a pass can divide by it.
bool IsDivisor(double value) {
  return value > 0 && std::isfinite(static_cast<float>(1.0 / value));
}

// What a cycle counts, of one that has begun and of one that has not.
absl::Status CheckCounts(const rule::CycleState& cycle) {
  const bool is_open = cycle.position > 0;
  const bool fits = is_open ? cycle.micro_steps >= 1 &&
                                  cycle.micro_steps <= rule::kMaxK &&
                                  cycle.since_update >= 1 &&
                                  cycle.since_update <= cycle.position &&
                                  cycle.since_update % cycle.micro_steps == 0
                            : cycle.micro_steps == 0 && cycle.since_update == 0;
  return Want(fits && IsCount(cycle.updates),
              "updates, since_update, micro_steps",
              absl::StrCat("counts that fit position ", cycle.position));
}

// What the update that ends a cycle divides by.
absl::Status CheckMasses(const rule::CycleState& cycle,
                         const rule::RuleSpec& rule) {
  const bool is_open = cycle.position > 0;
  const bool sums = is_open && rule.buffering == rule::Buffering::kClassic;
  ACCRUE_RETURN_IF_ERROR(
      Want(sums ? std::isfinite(cycle.weight_sum) && IsDivisor(cycle.weight_sum)
                : cycle.weight_sum == 0,
           "weight_sum", sums ? "that of the cycle's pushes" : "0"));
  ACCRUE_RETURN_IF_ERROR(Want(IsAmount(cycle.mass1) && IsAmount(cycle.mass2),
                              "mass1, mass2", "finite amounts"));
  const bool divides = is_open && rule::HasSecondMoment(rule.optimizer) &&
                       rule.buffering == rule::Buffering::kEmbedded;
  return Want(!divides || (IsDivisor(cycle.mass1) && IsDivisor(cycle.mass2)),
              "mass1, mass2", "those of the cycle's pushes");
}

absl::Status CheckGroupRule(const GroupState& group, const GroupSpec& spec,
                            const rule::RuleSpec& rule) {
  ACCRUE_RETURN_IF_ERROR(
      Want(spec.adaptive_k.has_value() ||
               (group.k == spec.k && group.update_every == spec.update_every),
           "k, update_every", "the spec's: they are not adaptive"));
  const std::string why = rule::ValidateRule(rule);
  return why.empty() ? absl::OkStatus() : Wrong(why);
}

bool LooksAhead(const GroupState& group, const OptimizerSpec& spec) {
  return spec.nesterov && spec.buffering == rule::Buffering::kEmbedded &&
         group.cycle.position > 0;
}

rule::RuleSpec RuleOf(const GroupState& group, const ModelSpec& spec,
                      int index) {
  rule::RuleSpec rule = GroupRule(spec, index);
  rule.k = group.k;
  rule.update_every = group.update_every;
  rule.hyper = group.hyper;
  return rule;
}

absl::Status CheckGroup(const TrainingState& state, const ModelSpec& spec,
                        int index) {
  const GroupState& group = state.groups[index];
  const std::string where =
      absl::StrCat("group \"", spec.groups[index].name, "\": ");
  ACCRUE_RETURN_IF_ERROR(Want(IsK(group.k) && IsK(group.update_every),
                              absl::StrCat(where, "k, update_every"),
                              absl::StrCat("1 to ", rule::kMaxK)));
  const rule::RuleSpec rule = RuleOf(group, spec, index);
  ACCRUE_RETURN_IF_ERROR(
      In(where, CheckGroupRule(group, spec.groups[index], rule)));
  ACCRUE_RETURN_IF_ERROR(In(where, CheckCycle(group.cycle, rule)));
  ACCRUE_RETURN_IF_ERROR(
      Want(group.looks_ahead == LooksAhead(group, spec.optimizer),
           absl::StrCat(where, "looks ahead"),
           "just where a Nesterov cycle is open"));
  const int64_t newest = state.version.has_value() ? state.version->number : 0;
  ACCRUE_RETURN_IF_ERROR(Want(group.version >= 0 && group.version <= newest,
                              absl::StrCat(where, "version ", group.version),
                              absl::StrCat("0 to ", newest)));
  ACCRUE_RETURN_IF_ERROR(Want(group.cycle.updates == 0 || group.version > 0,
                              absl::StrCat(where, "version 0"),
                              "that of its last update"));
  const auto held = static_cast<int64_t>(state.held.size());
  return Want(group.gather_begin >= 0 && group.gather_begin <= held,
              absl::StrCat(where, "gather_begin ", group.gather_begin),
              absl::StrCat("0 to ", held));
}

absl::Status CheckTogether(const TrainingState& state, const ModelSpec& spec) {
  std::vector<rule::RuleSpec> rules;
  for (size_t g = 0; g < state.groups.size(); ++g) {
    rules.push_back(RuleOf(state.groups[g], spec, static_cast<int>(g)));
  }
  std::string why = rule::ValidateGroups(rules, spec.max_staleness == 0);
  if (why.empty()) why = ValidateAdaptive(spec, rules);
  return why.empty() ? absl::OkStatus() : Wrong(why);
}

// Whether there is anything that only a model with parameters can have.
bool HasBegun(const TrainingState& state) {
  return state.folded_pushes != 0 || !state.held.empty() ||
         std::any_of(state.groups.begin(), state.groups.end(),
                     [](const GroupState& group) {
                       return group.cycle.position > 0 ||
                              group.cycle.updates > 0;
                     });
}

absl::Status CheckSessions(const TrainingState& state) {
  std::set<std::string> ids;
  const std::string* before = nullptr;
  for (const SessionState& session : state.sessions) {
    ACCRUE_RETURN_IF_ERROR(
        Want(IsWorker(session.worker) &&
                 (before == nullptr || *before < session.worker),
             "sessions", "workers' names, ascending"));
    before = &session.worker;
    ACCRUE_RETURN_IF_ERROR(
        Want(IsId(session.id) && ids.insert(session.id).second, "sessions",
             "ids of 32 hexadecimal digits, each once"));
    ACCRUE_RETURN_IF_ERROR(Want(
        IsCount(session.last_sequence) &&
            (session.last_sequence > 0) == session.last_outcome.has_value(),
        "sessions", "sequences from 0 on, and the last one's outcome"));
    if (!session.last_outcome.has_value()) continue;
    ACCRUE_RETURN_IF_ERROR(
        Want(IsId(session.last_outcome->version.lineage) &&
                 session.last_outcome->groups.size() == state.groups.size(),
             "sessions", "outcomes of this model's pushes"));
  }
  for (const std::string& id : state.fenced_sessions) {
    ACCRUE_RETURN_IF_ERROR(Want(IsId(id) && ids.insert(id).second,
                                "fenced_sessions", "ids, each once"));
  }
  ACCRUE_RETURN_IF_ERROR(Want(state.fenced_sessions.size() <= kMaxFenced,
                              "fenced_sessions",
                              absl::StrCat(kMaxFenced, " at most")));
  for (const auto& [worker, pushes] : state.pushes_this_version) {
    ACCRUE_RETURN_IF_ERROR(Want(IsWorker(worker) && IsCount(pushes),
                                "pushes_this_version", "counts of workers"));
  }
  return absl::OkStatus();
}

// Each group's open cycle is of the pushes from its first on, and nothing is
// held that is in none.
absl::Status CheckGathered(const TrainingState& state) {
  const auto held = static_cast<int64_t>(state.held.size());
  int64_t first = held;
  for (const GroupState& group : state.groups) {
    const int64_t came = held - group.gather_begin;
    ACCRUE_RETURN_IF_ERROR(Want(
        came * group.cycle.micro_steps == group.cycle.since_update &&
            (came == 0) == (group.cycle.position == 0),
        absl::StrCat("held: ", came, " of an open cycle"),
        absl::StrCat("pushes of ", group.cycle.since_update, " micro_steps")));
    first = std::min(first, group.gather_begin);
  }
  ACCRUE_RETURN_IF_ERROR(
      Want(first == 0 || held == 0, "held", "pushes of open cycles"));
  const auto same = [&state](const HeldPushState& push) {
    return push.facts.micro_steps == state.held[0].facts.micro_steps;
  };
  for (const GroupState& group : state.groups) {
    if (group.cycle.position == 0) continue;
    ACCRUE_RETURN_IF_ERROR(Want(
        group.cycle.micro_steps == state.held[0].facts.micro_steps, "held",
        absl::StrCat("pushes of ", group.cycle.micro_steps, " micro_steps")));
  }
  return Want(std::all_of(state.held.begin(), state.held.end(), same), "held",
              "pushes of the same micro_steps");
}

absl::Status CheckHeld(const TrainingState& state, const ModelSpec& spec) {
  ACCRUE_RETURN_IF_ERROR(
      Want(state.held.empty() || KeepsPayloads(spec), "held",
           absl::StrCat("none: model \"", spec.name, "\" holds no pushes")));
  int64_t elems = 0;
  for (const TensorSpec& tensor : spec.tensors) elems += ElementCount(tensor);
  for (const HeldPushState& held : state.held) {
    ACCRUE_RETURN_IF_ERROR(CheckHeldPush(held, state.groups.size(), elems));
  }
  return KeepsPayloads(spec) ? CheckGathered(state) : absl::OkStatus();
}

absl::Status CheckCounts(const TrainingState& state) {
  ACCRUE_RETURN_IF_ERROR(Want(
      IsCount(state.published_folded_pushes) && IsCount(state.folded_pushes) &&
          IsCount(state.window) && state.window_pushes >= 0 &&
          state.window_pushes ==
              state.folded_pushes - state.published_folded_pushes &&
          IsCount(state.loss_count) && IsCount(state.short_cycles) &&
          IsCount(state.received_bytes) && IsK(state.micro_steps),
      "folded_pushes and what is counted beside it", "counts"));
  for (const auto& [micro_steps, window] : state.recent_micro_steps) {
    ACCRUE_RETURN_IF_ERROR(Want(IsK(micro_steps) && IsCount(window),
                                "recent_micro_steps", "counts"));
  }
  for (const rule::KChange& change : state.k_changes) {
    ACCRUE_RETURN_IF_ERROR(
        Want(change.group >= 0 &&
                 static_cast<size_t>(change.group) < state.groups.size() &&
                 IsK(change.from) && IsK(change.to) && change.updates >= 0,
             "k_changes", "changes of groups that there are"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckHeldPush(const HeldPushState& held, size_t group_count,
                           int64_t elems) {
  ACCRUE_RETURN_IF_ERROR(Want(IsWorker(held.worker), "held", "workers' names"));
  ACCRUE_RETURN_IF_ERROR(Want(
      kernels::PayloadBytesOf(held.encoding, elems).Allow(held.payload_bytes),
      absl::StrCat("held: payload_bytes ", held.payload_bytes),
      absl::StrCat("as many as ", elems, " elements take")));
  const rule::PushFacts& facts = held.facts;
  const float factor = static_cast<float>(1.0 / facts.scale);
  ACCRUE_RETURN_IF_ERROR(
      Want(IsK(facts.micro_steps) && facts.weight >= rule::kMinWeight &&
               facts.weight <= rule::kMaxWeight && facts.gain_factor > 0 &&
               facts.gain_factor <= 1 && IsAmount(facts.scale) &&
               std::isfinite(factor) && factor > 0,
           "held: facts", "what a push may say"));
  return Want(held.group_square_sums.size() == group_count &&
                  std::all_of(held.group_square_sums.begin(),
                              held.group_square_sums.end(), IsAmount),
              "held: group_square_sums", "a finite amount for each group");
}

absl::Status CheckCycle(const rule::CycleState& cycle, rule::RuleSpec rule) {
  ACCRUE_RETURN_IF_ERROR(
      Want(cycle.position >= 0 && cycle.position < rule.update_every,
           absl::StrCat("position ", cycle.position),
           absl::StrCat("0 to ", rule.update_every - 1)));
  ACCRUE_RETURN_IF_ERROR(CheckCounts(cycle));
  ACCRUE_RETURN_IF_ERROR(CheckMasses(cycle, rule));
  const rule::CorrectionState& correction = cycle.correction;
  ACCRUE_RETURN_IF_ERROR(Want(AreFinite(cycle.noise.moment) &&
                                  AreFinite(cycle.noise.cycle) &&
                                  AreFinite(cycle.noise.before) &&
                                  std::isfinite(correction.push_shares) &&
                                  std::isfinite(correction.cycle_shares) &&
                                  std::isfinite(correction.cycle_mass),
                              "noise, correction", "finite numbers"));
  if (cycle.position == 0) return absl::OkStatus();
  rule.hyper = cycle.active;
  const std::string why = rule::ValidateRule(rule);
  return why.empty() ? absl::OkStatus() : Wrong(why);
}

bool IsCount(int64_t value) { return value >= 0 && value <= int64_t{1} << 60; }

bool IsWorker(const std::string& name) {
  return !name.empty() && name.size() <= kMaxWorkerName;
}

bool IsId(const std::string& text) {
  return text.size() == 32 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

absl::Status CheckState(const TrainingState& state, const ModelSpec& spec) {
  if (state.version.has_value()) {
    ACCRUE_RETURN_IF_ERROR(
        Want(IsId(state.version->lineage) && IsCount(state.version->number),
             "version", "a lineage of 32 hexadecimal digits, and a number"));
  }
  ACCRUE_RETURN_IF_ERROR(Want(state.groups.size() == spec.groups.size(),
                              absl::StrCat(state.groups.size(), " groups"),
                              absl::StrCat(spec.groups.size())));
  for (size_t g = 0; g < state.groups.size(); ++g) {
    ACCRUE_RETURN_IF_ERROR(CheckGroup(state, spec, static_cast<int>(g)));
  }
  ACCRUE_RETURN_IF_ERROR(CheckTogether(state, spec));
  ACCRUE_RETURN_IF_ERROR(Want(state.version.has_value() || !HasBegun(state),
                              "version", "one: pushes are folded"));
  ACCRUE_RETURN_IF_ERROR(CheckSessions(state));
  ACCRUE_RETURN_IF_ERROR(CheckHeld(state, spec));
  return CheckCounts(state);
}

}  // namespace accrue
