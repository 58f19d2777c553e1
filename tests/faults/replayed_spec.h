// ReplayedSpec: a model that Replay can follow; which one, a seed decides.
#ifndef ACCRUE_TESTS_FAULTS_REPLAYED_SPEC_H_
#define ACCRUE_TESTS_FAULTS_REPLAYED_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "accrue/spec.h"

namespace accrue::faults {

struct ReplayedSpec {
  client::ModelSpec spec;
  std::vector<float> initial;
  int64_t micro_steps = 1;  // that every push has
  std::string description;  // "adamw, k 2 6, ..."
};

// Three tensors in two or three groups of different k; of 45 times `size`
// elements.
ReplayedSpec MakeReplayedSpec(const std::string& name, uint64_t seed,
                              int64_t size);

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_REPLAYED_SPEC_H_
