// AdaptiveK: k that follows the noise of the gradients, up and down.
//
// Equation.  k = sqrt(sigma^2/mu^2) = CV [article, eq. 48 and, in a form that
//            can come down again and does not feed on itself, 53]: of debiased
//            estimates (noise.h), rounded, clamped to [min_k, max_k]; max_k
//            where mu^2 is below what can be seen.
//            k rises at most kMaxGrowth-fold at a time: what is seen at one k
//            (a mean too small to be seen, above all) is asked again at the
//            next. It falls at once, but no further than to where the mean
//            that calls for it would still be seen: SeenFrom. Where that is
//            above CV (few elements, little momentum, a large CV), k stays
//            above CV.
// Symbols.   n: the least common multiple of the micro_steps in use, of which k
//            is a multiple (RecentMicroSteps). b: where cycles nest, the
//            smallest k that any group may have; k is then a power of two times
//            b, so that every group's cycle is one of a chain.
// Invariant. k changes only where the one that it is on its way to fits better
//            than the present one by more than `hysteresis`, both distances
//            measured in log2: a CV that stands between two values does not
//            make k go to and fro. On its way up k may stop short of what fits,
//            by `hysteresis` at most.
//            Under a steady noise k settles: it does not fall to where the mean
//            is hidden, which would make it rise again.
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_ADAPTIVE_K_H_
#define ACCRUE_SERVER_RULE_ADAPTIVE_K_H_

#include <cstdint>
#include <map>
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

inline constexpr int64_t kMaxGrowth = 4;

// The micro_steps of the pushes toward the last kVersions publications, and of
// those that must wait since the open cycle's have another number: as long as k
// is a multiple of each of them, no worker that has pushed lately is locked
// out. Each divides k when it comes, and k stays a multiple of those before: so
// their least common multiple divides k.
class RecentMicroSteps {
 public:
  static constexpr int64_t kVersions = 64;
  // A push toward publication `version`; versions do not fall. What is older
  // than kVersions is forgotten.
  void Note(int64_t micro_steps, int64_t version);
  // Of those of (version - kVersions, version]. 1 if there are none; where it
  // is beyond kMaxK, something beyond kMaxK.
  int64_t LeastCommonMultiple(int64_t version) const;

  // micro_steps -> version of its last push.
  const std::map<int64_t, int64_t>& last() const { return last_; }

 private:
  std::map<int64_t, int64_t> last_;
};

// The k from which on a mean as large as `estimate` has it is seen (LeastSeen),
// once m holds cycles of that k alone, and by three times what that takes: of
// nine standard errors three may be the estimate's own, by which k is chosen,
// and three a later one's. 0 where rho is the same at every k (kPerPush); the
// sliding decays' rho is taken to go as 1/k too. `spec`: with the present k.
double SeenFrom(const RuleSpec& spec, const NoiseEstimate& estimate,
                int64_t elems);

struct KFit {
  int64_t micro_steps = 1;  // n, at least 1
  int64_t nesting = 0;      // b; 0: cycles need not nest
  double seen_from = 0;     // SeenFrom: k does not fall below it
};

// The k of the next cycles, of a group that has `k` now: that one, where no k
// of the range is a multiple of n.
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
