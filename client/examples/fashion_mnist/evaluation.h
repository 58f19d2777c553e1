// Evaluation: how much of the data a parameter vector is right about.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_EVALUATION_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_EVALUATION_H_

#include <cstdint>

#include "absl/types/span.h"
#include "client/examples/fashion_mnist/dataset.h"
#include "client/examples/fashion_mnist/mlp.h"

namespace accrue::fashion_mnist {

// The part of the first `count` examples, or of all if there are fewer, that
// the network classifies as labelled.
double Accuracy(Mlp<float>& network, absl::Span<const float> parameters,
                const Examples& examples, int64_t count);

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_EVALUATION_H_
