// AdaptiveK: k that follows the noise of the gradients, up and down.
//
// Equation.  k = sqrt(sigma^2/mu^2) = CV [article, eq. 48 and, in a form that
//            can come down again and does not feed on itself, 53]: of debiased
//            estimates (noise.h), rounded, clamped to [min_k, max_k]; max_k
//            where mu^2 is below what can be seen.
// Symbols.   n: micro_steps in use; k is a multiple of it. b: where cycles
//            nest, the smallest k that any group may have; k is then a power of
//            two times b, so that every group's cycle is one of a chain.
// Invariant. the new k fits CV better than the present one by more than
//            `hysteresis`, both distances measured in log2: a CV that stands
//            between two values does not make k go to and fro.
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_ADAPTIVE_K_H_
#define ACCRUE_SERVER_RULE_ADAPTIVE_K_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/rule/noise.h"
#include "server/rule/rule_spec.h"

namespace accrue::rule {

struct AdaptiveK {
  int64_t min_k = 1;
  int64_t max_k = 1;
  double hysteresis = 0.25;  // in log2(k)
  bool operator==(const AdaptiveK&) const = default;
};

// Empty if `adaptive` is allowed with `spec`, which is valid with its own k;
// else one sentence.
std::string ValidateAdaptiveK(const AdaptiveK& adaptive, const RuleSpec& spec);

// b: the smallest k that any group may have. `adaptive`: parallel to `groups`.
int64_t SmallestK(const std::vector<RuleSpec>& groups,
                  const std::vector<std::optional<AdaptiveK>>& adaptive);

// The same for groups that are valid one by one and by ValidateGroups.
std::string ValidateAdaptiveGroups(
    const std::vector<RuleSpec>& groups,
    const std::vector<std::optional<AdaptiveK>>& adaptive, bool nested);

struct KFit {
  int64_t micro_steps = 1;  // n, at least 1
  int64_t nesting = 0;      // b; 0: cycles need not nest
};

// The k of the next cycles, of a group that has `k` now.
int64_t NextK(const AdaptiveK& adaptive, int64_t k, const Variation& variation,
              const KFit& fit);

// A change that was made.
struct KChange {
  int32_t group = 0;
  int64_t from = 1, to = 1;
  Variation variation;  // that called for it
  int64_t updates = 0;  // u of the group
};

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_ADAPTIVE_K_H_
