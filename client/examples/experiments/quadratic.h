// The quadratic of the article's 6.1: f(theta) = theta' Q theta / 2 with
// Q = diag(10, 1), and normal noise on its gradient [eq. 47].
//
// The rule is elementwise, so that any number of seeds is one model of shape
// [seeds, 2]. Every method sees the same noise.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_QUADRATIC_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_QUADRATIC_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "accrue/client.h"
#include "client/examples/experiments/method.h"
#include "client/examples/experiments/options.h"

namespace accrue::experiments {

inline constexpr double kCurvature[2] = {10, 1};

struct QuadraticOptions {
  int64_t seeds = 400;
  int64_t pushes = 200;
  float start = 5;  // of both coordinates
  double noise = 0.5;
  uint64_t seed = 42;
};

// Called after each push, from 1 on, with theta [seeds, 2]; `updated` says
// whether it has just changed.
using QuadraticObserver = std::function<void(int64_t push, bool updated,
                                             absl::Span<const float> theta)>;

absl::Status RunQuadratic(const client::Client& client, const Setting& setting,
                          const QuadraticOptions& options,
                          const QuadraticObserver& observer);

// Writes quadratic.csv: for every method and push the loss over the seeds, the
// variance of the update's step, and one seed's path.
absl::Status QuadraticExperiment(const Options& options);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_QUADRATIC_H_
