#include "client/examples/experiments/flatness.h"

#include <cmath>
#include <numeric>
#include <random>

namespace accrue::experiments {
namespace {

using Vector = std::vector<double>;

// h, of a unit vector: far below where the loss bends, far above where doubles
// round.
constexpr double kDifference = 1e-4;

double Norm(const Vector& vector) {
  return std::sqrt(
      std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0));
}

Vector RandomDirection(size_t size, std::mt19937_64* random) {
  std::normal_distribution<double> normal;
  Vector direction(size);
  for (double& element : direction) element = normal(*random);
  const double norm = Norm(direction);
  for (double& element : direction) element /= norm;
  return direction;
}

Vector Moved(const Vector& from, const Vector& direction, double by) {
  Vector to = from;
  for (size_t i = 0; i < to.size(); ++i) to[i] += by * direction[i];
  return to;
}

Vector HessianTimes(const LossAndGradient& loss, const Vector& parameters,
                    const Vector& direction) {
  Vector ahead(parameters.size());
  Vector behind(parameters.size());
  loss(Moved(parameters, direction, kDifference), absl::MakeSpan(ahead));
  loss(Moved(parameters, direction, -kDifference), absl::MakeSpan(behind));
  for (size_t i = 0; i < ahead.size(); ++i) {
    ahead[i] = (ahead[i] - behind[i]) / (2 * kDifference);
  }
  return ahead;
}

}  // namespace

Flatness MeasureFlatness(const LossAndGradient& loss, const Vector& parameters,
                         const FlatnessOptions& options) {
  std::mt19937_64 random(options.seed);
  Flatness flatness;
  Vector direction = RandomDirection(parameters.size(), &random);
  for (int i = 0; i < options.iterations; ++i) {
    Vector image = HessianTimes(loss, parameters, direction);
    const double norm = Norm(image);
    flatness.largest_eigenvalue = norm;
    if (norm == 0) break;
    for (double& element : image) element /= norm;
    direction = std::move(image);
  }
  Vector unused(parameters.size());
  const double here = loss(parameters, absl::MakeSpan(unused));
  const double radius = options.relative_radius * Norm(parameters);
  for (int i = 0; i < options.directions; ++i) {
    const Vector away = RandomDirection(parameters.size(), &random);
    for (const double by : {radius, -radius}) {
      const double there =
          loss(Moved(parameters, away, by), absl::MakeSpan(unused));
      flatness.loss_rise += (there - here) / (2 * options.directions);
    }
  }
  return flatness;
}

}  // namespace accrue::experiments
