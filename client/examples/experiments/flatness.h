// Flatness: how steeply the loss rises around a parameter vector.
//
// Equation.  largest_eigenvalue: of the Hessian H, by power iteration, H*v by
//            central differences of gradients: (g(x + h*v) - g(x - h*v))/(2h)
//            loss_rise: mean over random directions u, |u| = 1, of
//            (f(x + r*|x|*u) + f(x - r*|x|*u))/2 - f(x), which is about
//            (r*|x|)^2*trace(H)/(2n), whatever g is
// Symbols.   x: the parameters, n of them; f: the loss, g: its gradient
// Numerics.  double. The eigenvalue of largest magnitude, from below where the
//            iteration has not ended: it is compared, not relied upon.
// Threading. safe

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_FLATNESS_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_FLATNESS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"

namespace accrue::experiments {

struct Flatness {
  double largest_eigenvalue = 0;
  double loss_rise = 0;
};

struct FlatnessOptions {
  int iterations = 20;
  int directions = 10;
  double relative_radius = 0.05;  // r
  uint64_t seed = 1;              // of where the iteration begins, and of u
};

// f and, written to `gradient`, g.
using LossAndGradient = std::function<double(
    absl::Span<const double> parameters, absl::Span<double> gradient)>;

Flatness MeasureFlatness(const LossAndGradient& loss,
                         const std::vector<double>& parameters,
                         const FlatnessOptions& options);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_FLATNESS_H_
