#include "server/rule/noise.h"

#include <algorithm>
#include <cmath>

namespace accrue::rule {
namespace {

// Below this distance of rho from q, relative to q, sigma^2 is a quotient of
// two small differences.
constexpr double kLeastDistance = 1e-3;

// What a mean must have of its standard errors to be seen: noise alone passes
// for one once in a thousand times.
constexpr double kSeenErrors = 3.0;

// What becomes of the sums when m is multiplied by `factor`.
void Scale(double factor, NoiseSums& sums) {
  sums.mass *= factor;
  sums.squares *= factor * factor;
  sums.power *= factor;
  sums.step_share *= factor;
}

NoiseSums Sum(const NoiseSums& a, const NoiseSums& b) {
  return {a.mass + b.mass, a.squares + b.squares, a.power + b.power,
          a.step_share + b.step_share};
}

}  // namespace

void FoldNoise(float keep, float gain, int64_t micro_steps, double norm,
               NoiseSums& sums) {
  const auto kept = static_cast<double>(keep);
  const auto gained = static_cast<double>(gain);
  const double share = gained / static_cast<double>(micro_steps);
  sums.mass = kept * sums.mass + gained;
  sums.squares = kept * kept * sums.squares + gained * share;
  sums.power = kept * sums.power + gained * (norm * norm);
  sums.step_share = kept * sums.step_share + share;
}

void FoldCycleNoise(float keep, double gain, NoiseState& state) {
  NoiseSums& cycle = state.cycle;
  Scale(gain, cycle);
  const auto kept = static_cast<double>(keep);
  state.before = state.moment;
  Scale(kept, state.before);
  state.moment = Sum(state.before, cycle);
}

void ClipNoise(double factor, bool of_cycle, NoiseState& state) {
  Scale(factor, state.cycle);
  if (of_cycle) {
    // Not a difference: the cycle may be all but a little of what m holds.
    state.moment = Sum(state.before, state.cycle);
  } else {
    Scale(factor, state.moment);
  }
}

double NoiseLeft(const NoiseSums& sums) {
  if (!(sums.mass > 0)) return 0;
  return sums.squares / sums.mass / sums.mass;
}

double MeanStepShare(const NoiseSums& sums) {
  if (!(sums.mass > 0)) return 0;
  return sums.step_share / sums.mass;
}

bool NoiseIsSeparable(double noise_left, double step_share) {
  return step_share - noise_left > kLeastDistance * step_share;
}

std::optional<NoiseEstimate> EstimateNoise(const NoiseSums& sums,
                                           double momentum_squares) {
  NoiseEstimate estimate;
  estimate.noise_left = NoiseLeft(sums);
  const double step_share = MeanStepShare(sums);
  if (!NoiseIsSeparable(estimate.noise_left, step_share) || !(sums.power > 0)) {
    return std::nullopt;
  }
  const double power = sums.power / sums.mass;
  const double left = momentum_squares / sums.mass / sums.mass;
  const double distance = step_share - estimate.noise_left;
  estimate.variance = std::max((power - left) / distance, 0.0);
  estimate.mean_squared =
      std::max(left - estimate.noise_left * estimate.variance, 0.0);
  // Finite for all that a push may hold; not for sums that a shard made up.
  if (!std::isfinite(estimate.variance) ||
      !std::isfinite(estimate.mean_squared) ||
      estimate.variance + estimate.mean_squared == 0) {
    return std::nullopt;
  }
  return estimate;
}

double PowerLeft(const NoiseEstimate& estimate, int64_t k) {
  return (estimate.mean_squared + estimate.variance / static_cast<double>(k)) /
         (estimate.mean_squared + estimate.variance);
}

double LeastSeen(const NoiseEstimate& estimate, int64_t elems) {
  return kSeenErrors * estimate.noise_left * estimate.variance *
         std::sqrt(2.0 / static_cast<double>(elems));
}

Variation CoefficientOfVariation(const NoiseEstimate& estimate, int64_t elems) {
  const double margin = LeastSeen(estimate, elems);
  Variation variation;
  variation.at_least = !(estimate.mean_squared > margin);
  const double mean_squared =
      estimate.mean_squared + (variation.at_least ? margin : 0.0);
  variation.value = std::sqrt(estimate.variance / mean_squared);
  return variation;
}

}  // namespace accrue::rule
