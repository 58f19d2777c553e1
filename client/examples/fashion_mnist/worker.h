// RunWorker: one worker process. It pulls parameters, computes the gradients of
// the minibatches that the version says, pushes them, or their mean, and waits
// for the next version, until the last.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_WORKER_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_WORKER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "client/examples/fashion_mnist/plan.h"

namespace accrue::fashion_mnist {

absl::Status RunWorker(const Plan& plan, int64_t worker);

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_WORKER_H_
