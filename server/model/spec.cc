#include "server/model/spec.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/model/gathering.h"
#include "server/rule/groups.h"

namespace accrue {
namespace {

constexpr size_t kMaxModelName = 128;
constexpr size_t kMaxName = 255;

absl::Status Invalid(const ModelSpec& spec, absl::string_view message) {
  ErrorInfo info;
  info.reason = Reason::kInvalidSpec;
  info.subject = spec.name;
  return MakeError(absl::StatusCode::kInvalidArgument, info,
                   absl::StrCat("model \"", spec.name, "\": ", message));
}

bool HasAlphabet(absl::string_view name, absl::string_view punctuation) {
  for (char c : name) {
    const bool alphanumeric = (c >= 'a' && c <= 'z') ||
                              (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!alphanumeric && punctuation.find(c) == absl::string_view::npos) {
      return false;
    }
  }
  return !name.empty();
}

absl::Status CheckModelName(const ModelSpec& spec) {
  if (IsModelName(spec.name)) return absl::OkStatus();
  return Invalid(spec,
                 absl::StrCat("name: want 1 to ", kMaxModelName,
                              " bytes of [A-Za-z0-9._-], no leading dot"));
}

absl::Status CheckName(const ModelSpec& spec, absl::string_view what,
                       absl::string_view name) {
  if (name.size() <= kMaxName && HasAlphabet(name, "._/-")) {
    return absl::OkStatus();
  }
  return Invalid(spec, absl::StrCat(what, " \"", name.substr(0, kMaxName),
                                    "\": name: want 1 to ", kMaxName,
                                    " bytes of [A-Za-z0-9._/-]"));
}

// Adds a tensor's elements to `total`, every product and sum checked.
absl::Status AddElements(const ModelSpec& spec, const TensorSpec& tensor,
                         const SpecLimits& limits, int64_t& total) {
  if (static_cast<int64_t>(tensor.shape.size()) > kMaxRank) {
    return Invalid(spec,
                   absl::StrCat("tensor \"", tensor.name, "\": rank ",
                                tensor.shape.size(), ", at most ", kMaxRank));
  }
  int64_t elems = 1;
  for (int64_t extent : tensor.shape) {
    if (extent < 1) {
      return Invalid(spec, absl::StrCat("tensor \"", tensor.name, "\": extent ",
                                        extent, ", want at least 1"));
    }
    if (extent > limits.max_elements / elems) {
      return Invalid(spec,
                     absl::StrCat("tensor \"", tensor.name, "\": more than ",
                                  limits.max_elements, " elements"));
    }
    elems *= extent;
  }
  if (elems > limits.max_elements - total) {
    return Invalid(spec, absl::StrCat("more than ", limits.max_elements,
                                      " elements over all tensors"));
  }
  total += elems;
  return absl::OkStatus();
}

absl::Status CheckTensors(const ModelSpec& spec, const SpecLimits& limits) {
  if (spec.tensors.empty()) return Invalid(spec, "tensors: want at least one");
  if (spec.tensors.size() > static_cast<size_t>(limits.max_tensors)) {
    return Invalid(spec, absl::StrCat("tensors: ", spec.tensors.size(),
                                      ", at most ", limits.max_tensors));
  }
  absl::flat_hash_set<std::string> groups;
  for (const GroupSpec& group : spec.groups) groups.insert(group.name);
  absl::flat_hash_set<std::string> names, used;
  int64_t total = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    ACCRUE_RETURN_IF_ERROR(CheckName(spec, "tensor", tensor.name));
    if (!names.insert(tensor.name).second) {
      return Invalid(spec,
                     absl::StrCat("tensor \"", tensor.name, "\": named twice"));
    }
    if (!groups.contains(tensor.group)) {
      return Invalid(spec, absl::StrCat("tensor \"", tensor.name,
                                        "\": no group \"", tensor.group, "\""));
    }
    used.insert(tensor.group);
    ACCRUE_RETURN_IF_ERROR(AddElements(spec, tensor, limits, total));
  }
  for (const GroupSpec& group : spec.groups) {
    if (!used.contains(group.name)) {
      return Invalid(spec,
                     absl::StrCat("group \"", group.name, "\": no tensors"));
    }
  }
  if (total > limits.max_payload_bytes / 4) {
    return Invalid(
        spec, absl::StrCat("a push of ", total, " elements has ", total * 4,
                           " bytes in F32, but --ingest_memory admits ",
                           limits.max_payload_bytes));
  }
  return absl::OkStatus();
}

absl::Status CheckGroups(const ModelSpec& spec, const SpecLimits& limits) {
  if (spec.groups.empty()) return Invalid(spec, "groups: want at least one");
  if (spec.groups.size() > static_cast<size_t>(limits.max_groups)) {
    return Invalid(spec, absl::StrCat("groups: ", spec.groups.size(),
                                      ", at most ", limits.max_groups));
  }
  absl::flat_hash_set<std::string> names;
  std::vector<rule::RuleSpec> rules;
  for (size_t g = 0; g < spec.groups.size(); ++g) {
    const GroupSpec& group = spec.groups[g];
    ACCRUE_RETURN_IF_ERROR(CheckName(spec, "group", group.name));
    if (!names.insert(group.name).second) {
      return Invalid(spec,
                     absl::StrCat("group \"", group.name, "\": named twice"));
    }
    rules.push_back(GroupRule(spec, static_cast<int>(g)));
    const std::string why = rule::ValidateRule(rules.back());
    if (!why.empty()) {
      return Invalid(spec, absl::StrCat("group \"", group.name, "\": ", why));
    }
  }
  const bool nested = spec.max_staleness == 0;
  std::string why = rule::ValidateGroups(rules, nested);
  if (why.empty()) why = ValidateAdaptive(spec, rules);
  if (!why.empty()) return Invalid(spec, why);
  return absl::OkStatus();
}

absl::Status CheckGathering(const ModelSpec& spec) {
  if (!KeepsPayloads(spec)) return absl::OkStatus();
  const auto groups = static_cast<int64_t>(spec.groups.size());
  const int64_t most = MostHeldPushes(groups);
  for (const GroupSpec& group : spec.groups) {
    if (LongestCycle(group) <= most) continue;
    return Invalid(
        spec,
        absl::StrCat("group \"", group.name, "\": ",
                     group.adaptive_k.has_value() ? "adaptive_k: max_k" : "k",
                     " = ", LongestCycle(group), ", want at most ", most,
                     " where buffering is gather, and the groups are ", groups,
                     ": a checkpoint has room for so many pushes"));
  }
  return absl::OkStatus();
}

absl::Status CheckConsistency(const ModelSpec& spec) {
  if (spec.max_staleness < -1) {
    return Invalid(spec, absl::StrCat("max_staleness: ", spec.max_staleness,
                                      ", want -1 (no limit) or more"));
  }
  if (spec.max_pushes_per_worker < 0) {
    return Invalid(spec, absl::StrCat("max_pushes_per_worker: ",
                                      spec.max_pushes_per_worker,
                                      ", want 0 (no limit) or more"));
  }
  if (spec.cycle_timeout <= absl::ZeroDuration()) {
    return Invalid(spec, absl::StrCat("cycle_timeout: ",
                                      absl::FormatDuration(spec.cycle_timeout),
                                      ", want more than 0"));
  }
  if (spec.min_pushes < 1) {
    return Invalid(spec, absl::StrCat("min_pushes: ", spec.min_pushes,
                                      ", want at least 1"));
  }
  if (!std::isfinite(spec.nominal_weight) || spec.nominal_weight <= 0) {
    return Invalid(spec, absl::StrCat("nominal_weight: ", spec.nominal_weight,
                                      ", want a finite number above 0"));
  }
  if (spec.max_publications < 2 || spec.max_publications > 64) {
    return Invalid(spec, absl::StrCat("max_publications: ",
                                      spec.max_publications, ", want 2 to 64"));
  }
  return absl::OkStatus();
}

// Few workers with a quota would never fill a cycle that has grown.
std::string ValidateQuota(const rule::AdaptiveK& adaptive,
                          const ModelSpec& spec) {
  if (spec.max_pushes_per_worker == 0 ||
      adaptive.max_k <= spec.max_pushes_per_worker ||
      spec.cycle_timeout < absl::InfiniteDuration()) {
    return "";
  }
  return absl::StrCat(
      "adaptive_k: max_k = ", adaptive.max_k,
      " over max_pushes_per_worker = ", spec.max_pushes_per_worker,
      ", want a cycle_timeout: k may grow over what the "
      "workers may push toward one version");
}

}  // namespace

bool IsModelName(absl::string_view name) {
  // Files are named after it: no separator, no leading dot.
  return name.size() <= kMaxModelName && HasAlphabet(name, "._-") &&
         name[0] != '.';
}

void FillDefaults(ModelSpec& spec) {
  const rule::Optimizer optimizer = spec.optimizer.optimizer;
  const rule::Hyperparameters unused;
  for (GroupSpec& group : spec.groups) {
    if (group.update_every == 0) group.update_every = group.k;
    if (rule::HasDampening(optimizer)) group.hyper.beta2 = unused.beta2;
    if (!rule::HasSecondMoment(optimizer)) group.hyper.epsilon = unused.epsilon;
  }
  if (spec.groups.empty()) return;
  for (TensorSpec& tensor : spec.tensors) {
    if (tensor.group.empty()) tensor.group = spec.groups[0].name;
  }
}

absl::Status ValidateSpec(const ModelSpec& spec, const SpecLimits& limits) {
  ACCRUE_RETURN_IF_ERROR(CheckModelName(spec));
  ACCRUE_RETURN_IF_ERROR(CheckConsistency(spec));
  ACCRUE_RETURN_IF_ERROR(CheckGroups(spec, limits));
  ACCRUE_RETURN_IF_ERROR(CheckGathering(spec));
  return CheckTensors(spec, limits);
}

rule::RuleSpec GroupRule(const ModelSpec& spec, int group) {
  const OptimizerSpec& shared = spec.optimizer;
  rule::RuleSpec rule;
  rule.optimizer = shared.optimizer;
  rule.decay = shared.decay;
  rule.buffering = shared.buffering;
  rule.second_moment = shared.second_moment;
  rule.epsilon_place = shared.epsilon_place;
  rule.lr_scaling = shared.lr_scaling;
  rule.clip_scope = shared.clip_scope;
  rule.nesterov = shared.nesterov;
  rule.slide_beta2 = shared.slide_beta2;
  rule.k = spec.groups[group].k;
  rule.update_every = spec.groups[group].update_every;
  rule.hyper = spec.groups[group].hyper;
  return rule;
}

std::vector<rule::RuleSpec> GroupRules(const ModelSpec& spec) {
  std::vector<rule::RuleSpec> rules;
  for (size_t g = 0; g < spec.groups.size(); ++g) {
    rules.push_back(GroupRule(spec, static_cast<int>(g)));
  }
  return rules;
}

std::vector<std::optional<rule::AdaptiveK>> AdaptivePolicies(
    const ModelSpec& spec) {
  std::vector<std::optional<rule::AdaptiveK>> policies;
  for (const GroupSpec& group : spec.groups) {
    policies.push_back(group.adaptive_k);
  }
  return policies;
}

std::string ValidateAdaptive(const ModelSpec& spec,
                             const std::vector<rule::RuleSpec>& rules) {
  for (size_t g = 0; g < rules.size(); ++g) {
    if (!spec.groups[g].adaptive_k.has_value()) continue;
    const rule::AdaptiveK& adaptive = *spec.groups[g].adaptive_k;
    std::string why = rule::ValidateAdaptiveK(adaptive, rules[g]);
    if (why.empty()) why = ValidateQuota(adaptive, spec);
    if (why.empty()) continue;
    return absl::StrCat("group \"", spec.groups[g].name, "\": ", why);
  }
  return rule::ValidateAdaptiveGroups(rules, AdaptivePolicies(spec),
                                      spec.max_staleness == 0);
}

int64_t ElementCount(const TensorSpec& tensor) {
  int64_t elems = 1;
  for (int64_t extent : tensor.shape) elems *= extent;
  return elems;
}

}  // namespace accrue
