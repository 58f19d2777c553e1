// Per-layer k: groups by depth, so that layers near the input, whose gradients
// are noisier, average more pushes than those near the output.
//
// Equation.  k_l = min(max_k, k_min*2^floor((L - l)/2)), L: the largest depth
//            [the article's eq. 54, k_0*2^((L-l)/2), has no bound and is no
//            integer: 45*k_0 at 12 layers]. max_k is rounded down to a power of
//            two times k_min, so that all cycles nest.
//
//   auto spec = SplitByDepth(spec, {.k_min = 2, .max_k = 16,
//                                   .depths = {{"embedding", 0},
//                                              {"block1.*", 1}, ...}});

#ifndef ACCRUE_CLIENT_PER_LAYER_K_H_
#define ACCRUE_CLIENT_PER_LAYER_K_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/spec.h"

namespace accrue::client {

struct PerLayerK {
  struct Depth {
    // A tensor's name, or the beginning of names, with a "*" behind it.
    std::string tensors = {};
    // l: 0 or more, growing from the input to the output.
    int64_t depth = 0;
  };

  int64_t k_min = 1;  // of the deepest layer
  int64_t max_k = 1;
  // Every tensor is in one: by its name, else by the longest beginning.
  std::vector<Depth> depths = {};
};

// `spec` with each group split by the k of its tensors' depths: "all" becomes
// "all.k4", "all.k2", in the order of its tensors, with its hyperparameters.
// INVALID_ARGUMENT: a tensor without a depth, a depth without a tensor or given
// twice, a number out of range, a group with update_every, adaptive_k or a k
// other than 1, a tensor of a group that is not there.
absl::StatusOr<ModelSpec> SplitByDepth(const ModelSpec& spec,
                                       const PerLayerK& per_layer);

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_PER_LAYER_K_H_
