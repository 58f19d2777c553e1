// ModelSpec: everything a model is created from, and what makes one valid.
//
// Units.     k, update_every, min_pushes: pushes; sizes: elements.
// Errors.    INVALID_ARGUMENT kInvalidSpec: the message names the field, what
//            was expected and what was got.
// Threading. immutable once validated.
#ifndef ACCRUE_SERVER_MODEL_SPEC_H_
#define ACCRUE_SERVER_MODEL_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/rule/adaptive_k.h"
#include "server/rule/rule_spec.h"

namespace accrue {

enum class StalePolicy { kReject, kAccept, kDampen };
// What an answered push is: folded, or in the journal too.
enum class Durability { kMemory, kJournal };

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;  // empty: a scalar
  std::string group;           // empty: the first group
  bool operator==(const TensorSpec&) const = default;
};

struct GroupSpec {
  std::string name;
  int64_t k = 1;
  int64_t update_every = 0;  // 0: k
  rule::Hyperparameters hyper;
  std::optional<rule::AdaptiveK> adaptive_k = std::nullopt;  // k stays
  bool operator==(const GroupSpec&) const = default;
};

// The conventions that all groups share.
struct OptimizerSpec {
  rule::Optimizer optimizer = rule::Optimizer::kAdamW;
  rule::Decay decay = rule::Decay::kPerCycle;
  rule::Buffering buffering = rule::Buffering::kEmbedded;
  rule::SecondMoment second_moment = rule::SecondMoment::kArticle;
  rule::EpsilonPlace epsilon_place = rule::EpsilonPlace::kOutside;
  rule::LrScaling lr_scaling = rule::LrScaling::kConservative;
  rule::ClipScope clip_scope = rule::ClipScope::kGroup;
  bool nesterov = false;
  bool slide_beta2 = true;
  bool operator==(const OptimizerSpec&) const = default;
};

struct ModelSpec {
  std::string name;
  std::vector<TensorSpec> tensors;  // payload order
  std::vector<GroupSpec> groups;
  OptimizerSpec optimizer;
  int64_t max_staleness = 0;  // versions; 0 synchronous, -1 no limit
  StalePolicy stale_policy = StalePolicy::kReject;
  int64_t max_pushes_per_worker = 0;  // toward one version; 0: no limit
  absl::Duration cycle_timeout = absl::InfiniteDuration();
  int64_t min_pushes = 1;
  double nominal_weight = 1.0;
  int64_t max_publications = 4;
  Durability durability = Durability::kMemory;
  bool operator==(const ModelSpec&) const = default;
};

// Extents of a tensor.
inline constexpr int64_t kMaxRank = 8;

// What a server allows of one model.
struct SpecLimits {
  int64_t max_tensors = 100'000;
  int64_t max_groups = 10'000;
  int64_t max_elements = int64_t{1} << 40;
  // A push of the model in F32 must fit into this (--ingest_memory).
  int64_t max_payload_bytes = int64_t{1} << 42;
};

// Fills defaults in (update_every, tensors' groups, hyperparameters that the
// optimizer does not have), so that equal models have equal specs.
void FillDefaults(ModelSpec& spec);

// Whether a model can have this name.
bool IsModelName(absl::string_view name);

// Of a spec with its defaults filled in.
absl::Status ValidateSpec(const ModelSpec& spec, const SpecLimits& limits);

// The rule of group `group` of `spec`.
rule::RuleSpec GroupRule(const ModelSpec& spec, int group);

// Every group's, parallel to `spec.groups`.
std::vector<rule::RuleSpec> GroupRules(const ModelSpec& spec);
std::vector<std::optional<rule::AdaptiveK>> AdaptivePolicies(
    const ModelSpec& spec);

// Empty if `rules`, which are those of `spec`'s groups or hyperparameters'
// later ones, may be adapted as `spec` says; else one sentence.
std::string ValidateAdaptive(const ModelSpec& spec,
                             const std::vector<rule::RuleSpec>& rules);

// Elements of a tensor: the product of its extents.
int64_t ElementCount(const TensorSpec& tensor);

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_SPEC_H_
