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
  fashion_mnist::Examples train;     // all but the last kHeldOut
  fashion_mnist::Examples held_out;  // to choose by
  fashion_mnist::Examples test;
};

inline constexpr int64_t kHeldOut = 5000;

absl::StatusOr<Images> LoadImages(const std::string& folder);

using Network = fashion_mnist::Mlp<float>;

// With hidden layers of these widths.
std::vector<int64_t> NetworkWidths(const std::vector<int64_t>& hidden);
Network MakeNetwork(const std::vector<int64_t>& hidden);

std::vector<client::TensorSpec> TensorsOf(const Network& network);

// He et al.: normal weights of variance 2 / fan-in, biases of 0.
std::vector<float> FirstParameters(const Network& network, uint64_t seed);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CLASSIFIER_H_
