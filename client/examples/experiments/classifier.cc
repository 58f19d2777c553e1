#include "client/examples/experiments/classifier.h"

#include <cmath>
#include <random>

#include "server/base/status_macros.h"

namespace accrue::experiments {

absl::StatusOr<Images> LoadImages(const std::string& folder) {
  Images images;
  ACCRUE_ASSIGN_OR_RETURN(
      images.train,
      fashion_mnist::LoadExamples(folder, fashion_mnist::Part::kTrain));
  ACCRUE_ASSIGN_OR_RETURN(images.test, fashion_mnist::LoadExamples(
                                           folder, fashion_mnist::Part::kTest));
  return images;
}

Network MakeNetwork(int64_t hidden) {
  return Network({fashion_mnist::kPixels, hidden, fashion_mnist::kClasses});
}

std::vector<client::TensorSpec> TensorsOf(const Network& network) {
  std::vector<client::TensorSpec> tensors;
  for (const auto& tensor : network.tensors()) {
    tensors.push_back({.name = tensor.name, .shape = tensor.shape});
  }
  return tensors;
}

std::vector<float> FirstParameters(const Network& network, uint64_t seed) {
  std::vector<float> parameters;
  parameters.reserve(static_cast<size_t>(network.parameter_count()));
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  for (const auto& tensor : network.tensors()) {
    const bool is_weight = tensor.shape.size() == 2;
    const double deviation =
        is_weight ? std::sqrt(2.0 / static_cast<double>(tensor.shape[1])) : 0;
    const int64_t count = tensor.shape[0] * (is_weight ? tensor.shape[1] : 1);
    for (int64_t i = 0; i < count; ++i) {
      parameters.push_back(static_cast<float>(deviation * normal(random)));
    }
  }
  return parameters;
}

}  // namespace accrue::experiments
