#include "server/kernels/trust_rate.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "server/kernels/pass_check.h"

namespace accrue::kernels {

float TrustRate(double lr, const TrustSquares& squares) {
  const double theta = std::sqrt(squares.theta);
  const double direction = std::sqrt(squares.direction);
  const bool has_ratio = theta > 0 && direction > 0 && std::isfinite(theta) &&
                         std::isfinite(direction);
  if (!has_ratio) return static_cast<float>(lr);
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::min(lr * (theta / direction), kLargest));
}

std::vector<float> TrustRates(const BlockMap& blocks, const Pass& pass,
                              const std::vector<TrustSquares>& block_squares) {
  const auto tensors = static_cast<size_t>(blocks.tensor_count);
  std::vector<TrustSquares> sums(tensors);
  std::vector<double> learning_rates(tensors);
  for (size_t b = 0; b < blocks.blocks.size(); ++b) {
    const Block& block = blocks.blocks[b];
    const GroupPass& group = pass.groups[static_cast<size_t>(block.group)];
    if (!IsTrusted(group)) continue;
    const auto tensor = static_cast<size_t>(block.tensor);
    sums[tensor].theta += block_squares[b].theta;
    sums[tensor].direction += block_squares[b].direction;
    learning_rates[tensor] = group.update->rate;
  }
  std::vector<float> rates(tensors);
  for (size_t t = 0; t < tensors; ++t) {
    rates[t] = TrustRate(learning_rates[t], sums[t]);
  }
  return rates;
}

}  // namespace accrue::kernels
