// Classifier: the images and the perceptron of the experiments, with the first
// parameters and minibatches that a seed gives.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CLASSIFIER_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CLASSIFIER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/spec.h"
#include "client/examples/fashion_mnist/dataset.h"
#include "client/examples/fashion_mnist/mlp.h"

namespace accrue::experiments {

struct Images {
  fashion_mnist::Examples train;
  fashion_mnist::Examples test;
};

absl::StatusOr<Images> LoadImages(const std::string& folder);

using Network = fashion_mnist::Mlp<float>;

// With one hidden layer of this width.
Network MakeNetwork(int64_t hidden);

std::vector<client::TensorSpec> TensorsOf(const Network& network);

// He et al.: normal weights of variance 2 / fan-in, biases of 0.
std::vector<float> FirstParameters(const Network& network, uint64_t seed);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CLASSIFIER_H_
