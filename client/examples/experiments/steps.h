// Steps: what a model's parameters go at each update, under gradients that do
// not depend on them.
//
// Threading. compatible

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_STEPS_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_STEPS_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/client.h"

namespace accrue::experiments {

// Gradients of the same normal numbers for whoever asks with the same seed.
class NoisySource {
 public:
  NoisySource(int64_t size, double mean, double deviation)
      : noise_(mean, deviation), gradient_(static_cast<size_t>(size)) {}

  const std::vector<float>& Next();

 private:
  std::mt19937_64 random_{7};
  std::normal_distribution<double> noise_;
  std::vector<float> gradient_;
};

using Steps = std::vector<std::vector<double>>;  // [updates, size]

// Of the updates after the first `skip`.
absl::StatusOr<Steps> CollectSteps(const client::Client& client,
                                   client::ModelSpec spec, NoisySource source,
                                   int64_t skip, int64_t updates);

double SquaredNorm(const Steps& steps);

// |steps - reference| / |reference|
double RelativeDifference(const Steps& steps, const Steps& reference);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_STEPS_H_
