// RunCoordinator: the main job. It creates and initializes the model, starts
// the workers, shows how training goes, and says what came of it.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_COORDINATOR_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_COORDINATOR_H_

#include <csignal>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/examples/fashion_mnist/display.h"
#include "client/examples/fashion_mnist/plan.h"

namespace accrue::fashion_mnist {

struct Outcome {
  double test_accuracy = 0;
  int64_t versions = 0;
  int64_t pushes = 0;
  // As the daemon reports them.
  int64_t accumulation_buffer_bytes = 0;
  int64_t published_bytes = 0;
  // From the workers' start to the last version.
  absl::Duration training_time = {};
};

// "trained in 61.2 s".
std::string TimeLine(const Outcome& outcome);

// "test_accuracy=0.8912 versions=1404 pushes=5616 accumulation_buffer_bytes=0
// published_bytes=1881168", on one line.
std::string OutcomeLine(const Outcome& outcome);

struct CoordinatorOptions {
  // Delete a model of this name that is there already; else go on with it.
  bool replace = false;
  // Without a new version for this long, training has failed.
  absl::Duration patience = absl::Minutes(1);
};

// CANCELLED: `*interrupted` is no longer 0. However it ends, no worker runs any
// more.
absl::StatusOr<Outcome> RunCoordinator(
    const Plan& plan, const CoordinatorOptions& options,
    const volatile std::sig_atomic_t* interrupted, Display& display);

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_COORDINATOR_H_
