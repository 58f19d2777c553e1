#include "server/durability/state_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"
#include "server/kernels/encoding.h"
#include "server/model/gathering.h"
#include "server/rule/cycle.h"

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

bool IsAmount(double value) { return std::isfinite(value) && value >= 0; }

bool IsK(int64_t k) { return k >= 1 && k <= rule::kMaxK; }

bool AreFinite(const rule::NoiseSums& sums) {
  return std::isfinite(sums.mass) && std::isfinite(sums.squares) &&
         std::isfinite(sums.power) && std::isfinite(sums.step_share);
}

absl::Status CheckRule(const GroupState& group, rule::RuleSpec rule,
                       absl::string_view where) {
  rule.k = group.k;
  rule.update_every = group.update_every;
  rule.hyper = group.hyper;
  std::string why = rule::ValidateRule(rule);
  if (why.empty() && group.cycle.position > 0) {
    rule.hyper = group.cycle.active;
    why = rule::ValidateRule(rule);
  }
  return why.empty() ? absl::OkStatus() : Wrong(absl::StrCat(where, why));
}

absl::Status CheckCycle(const GroupState& group, absl::string_view where) {
  const rule::CycleState& cycle = group.cycle;
  ACCRUE_RETURN_IF_ERROR(
      Want(cycle.position >= 0 && cycle.position < group.update_every,
           absl::StrCat(where, "position ", cycle.position),
           absl::StrCat("0 to ", group.update_every - 1)));
  ACCRUE_RETURN_IF_ERROR(Want(
      cycle.updates >= 0 && cycle.since_update >= 0 && cycle.micro_steps >= 0 &&
          cycle.micro_steps <= rule::kMaxK,
      absl::StrCat(where, "updates, since_update, micro_steps"), "counts"));
  ACCRUE_RETURN_IF_ERROR(Want(IsAmount(cycle.mass1) && IsAmount(cycle.mass2) &&
                                  IsAmount(cycle.weight_sum),
                              absl::StrCat(where, "mass1, mass2, weight_sum"),
                              "finite amounts"));
  const rule::CorrectionState& correction = cycle.correction;
  return Want(AreFinite(cycle.noise.moment) && AreFinite(cycle.noise.cycle) &&
                  AreFinite(cycle.noise.before) &&
                  std::isfinite(correction.push_shares) &&
                  std::isfinite(correction.cycle_shares) &&
                  std::isfinite(correction.cycle_mass),
              absl::StrCat(where, "noise, correction"), "finite numbers");
}

absl::Status CheckGroup(const TrainingState& state, const ModelSpec& spec,
                        int index) {
  const GroupState& group = state.groups[index];
  const std::string where =
      absl::StrCat("group \"", spec.groups[index].name, "\": ");
  ACCRUE_RETURN_IF_ERROR(Want(IsK(group.k) && IsK(group.update_every),
                              absl::StrCat(where, "k, update_every"),
                              absl::StrCat("1 to ", rule::kMaxK)));
  ACCRUE_RETURN_IF_ERROR(CheckRule(group, GroupRule(spec, index), where));
  ACCRUE_RETURN_IF_ERROR(CheckCycle(group, where));
  const int64_t newest = state.version.has_value() ? state.version->number : 0;
  ACCRUE_RETURN_IF_ERROR(Want(group.version >= 0 && group.version <= newest,
                              absl::StrCat(where, "version ", group.version),
                              absl::StrCat("0 to ", newest)));
  const auto held = static_cast<int64_t>(state.held.size());
  return Want(group.gather_begin >= 0 && group.gather_begin <= held,
              absl::StrCat(where, "gather_begin ", group.gather_begin),
              absl::StrCat("0 to ", held));
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
    ACCRUE_RETURN_IF_ERROR(
        Want(session.last_sequence >= 0, "sessions", "sequences from 0 on"));
  }
  for (const auto& [worker, pushes] : state.pushes_this_version) {
    ACCRUE_RETURN_IF_ERROR(Want(IsWorker(worker) && pushes >= 0,
                                "pushes_this_version", "counts of workers"));
  }
  return absl::OkStatus();
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
  return absl::OkStatus();
}

absl::Status CheckCounts(const TrainingState& state) {
  ACCRUE_RETURN_IF_ERROR(
      Want(state.published_folded_pushes >= 0 &&
               state.folded_pushes >= state.published_folded_pushes &&
               state.window >= 0 && state.window_pushes >= 0 &&
               state.loss_count >= 0 && state.short_cycles >= 0 &&
               state.received_bytes >= 0 && state.micro_steps >= 1,
           "folded_pushes and what is counted beside it", "counts"));
  for (const auto& [micro_steps, window] : state.recent_micro_steps) {
    ACCRUE_RETURN_IF_ERROR(
        Want(IsK(micro_steps) && window >= 0, "recent_micro_steps", "counts"));
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
  ACCRUE_RETURN_IF_ERROR(Want(
      IsK(facts.micro_steps) && facts.weight >= rule::kMinWeight &&
          facts.weight <= rule::kMaxWeight && IsAmount(facts.gain_factor) &&
          IsAmount(facts.scale) && std::isfinite(factor) && factor > 0,
      "held: facts", "what a push may say"));
  return Want(held.group_square_sums.size() == group_count &&
                  std::all_of(held.group_square_sums.begin(),
                              held.group_square_sums.end(), IsAmount),
              "held: group_square_sums", "a finite amount for each group");
}

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
        Want(IsId(state.version->lineage) && state.version->number >= 0,
             "version", "a lineage of 32 hexadecimal digits, and a number"));
  }
  ACCRUE_RETURN_IF_ERROR(Want(state.groups.size() == spec.groups.size(),
                              absl::StrCat(state.groups.size(), " groups"),
                              absl::StrCat(spec.groups.size())));
  for (size_t g = 0; g < state.groups.size(); ++g) {
    ACCRUE_RETURN_IF_ERROR(CheckGroup(state, spec, static_cast<int>(g)));
  }
  ACCRUE_RETURN_IF_ERROR(CheckSessions(state));
  ACCRUE_RETURN_IF_ERROR(CheckHeld(state, spec));
  return CheckCounts(state);
}

}  // namespace accrue
