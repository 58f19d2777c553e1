#include "client/ctl/nesting_k.h"

#include <algorithm>
#include <numeric>

namespace accrue::ctl {
namespace {

// Down where the daemon's bound would be passed.
int64_t RoundUp(int64_t k, int64_t step) {
  const int64_t multiples = std::min((k + step - 1) / step, kMaxK / step);
  return std::max<int64_t>(multiples, 1) * step;
}

// The step that all other cycles are multiples of: at least `least`, if one
// divides the fixed cycles, whose greatest common divisor is `fixed` (0: there
// is none).
int64_t FindStep(int64_t least, int64_t fixed, int64_t micro_steps) {
  const int64_t first = RoundUp(least, micro_steps);
  if (fixed == 0) return first;
  for (int64_t step = first; step <= fixed; step += micro_steps) {
    if (fixed % step == 0) return step;
  }
  return fixed;
}

}  // namespace

NestingK Nest(const std::vector<KWish>& wishes, int64_t micro_steps,
              bool nested) {
  micro_steps = std::clamp<int64_t>(micro_steps, 1, kMaxK);
  int64_t step = micro_steps;
  if (nested) {
    int64_t least = kMaxK;
    int64_t fixed = 0;
    for (const KWish& wish : wishes) {
      if (wish.fixed) {
        fixed = std::gcd(fixed, wish.k);
      } else {
        least = std::min(least, wish.k);
      }
    }
    step = FindStep(least, fixed, micro_steps);
  }
  NestingK nesting;
  for (const KWish& wish : wishes) {
    nesting.k.push_back(wish.fixed ? wish.k : RoundUp(wish.k, step));
  }
  if (wishes.empty()) return nesting;
  const int64_t shortest =
      *std::min_element(nesting.k.begin(), nesting.k.end());
  for (const int64_t k : nesting.k) {
    const bool divides = k % micro_steps == 0;
    const bool is_multiple = !nested || k % shortest == 0;
    if (!divides || !is_multiple) nesting.nests = false;
  }
  return nesting;
}

}  // namespace accrue::ctl
