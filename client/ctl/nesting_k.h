// Nesting k: the smallest k a model may have together, of those that its groups
// would have best.
//
// Equation.  at max_staleness 0 every cycle is a multiple of the shortest; and
//            every k of the micro_steps in use. A wish is rounded up to the
//            next k that is.

#ifndef ACCRUE_CLIENT_CTL_NESTING_K_H_
#define ACCRUE_CLIENT_CTL_NESTING_K_H_

#include <cstdint>
#include <vector>

namespace accrue::ctl {

// The largest that the daemon takes.
inline constexpr int64_t kMaxK = int64_t{1} << 20;

// A group's k.
struct KWish {
  int64_t k = 1;
  // It stays as it is: the length of a cycle that no k sets, or nothing is
  // known that would fit better.
  bool fixed = false;
};

struct NestingK {
  std::vector<int64_t> k;  // parallel to the wishes
  // False: with those that are fixed there is none that nests.
  bool nests = true;
};

// `nested`: whether cycles must nest.
NestingK Nest(const std::vector<KWish>& wishes, int64_t micro_steps,
              bool nested);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_NESTING_K_H_
