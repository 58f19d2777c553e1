#include "client/examples/experiments/classifier.h"

#include <cmath>
#include <random>

#include "server/base/status_macros.h"

namespace accrue::experiments {

namespace {

// Moves the last `count` examples, of which there are more, out of `all`.
fashion_mnist::Examples SplitLast(int64_t count, fashion_mnist::Examples* all) {
  const int64_t kept = all->count() - count;
  const auto image = all->images.begin() + kept * fashion_mnist::kPixels;
  const auto label = all->labels.begin() + kept;
  fashion_mnist::Examples last;
  last.images.assign(image, all->images.end());
  last.labels.assign(label, all->labels.end());
  all->images.erase(image, all->images.end());
  all->labels.erase(label, all->labels.end());
  return last;
}

}  // namespace

absl::StatusOr<Images> LoadImages(const std::string& folder) {
  Images images;
  ACCRUE_ASSIGN_OR_RETURN(
      images.train,
      fashion_mnist::LoadExamples(folder, fashion_mnist::Part::kTrain));
  images.held_out = SplitLast(kHeldOut, &images.train);
  ACCRUE_ASSIGN_OR_RETURN(images.test, fashion_mnist::LoadExamples(
                                           folder, fashion_mnist::Part::kTest));
  return images;
}

std::vector<int64_t> NetworkWidths(const std::vector<int64_t>& hidden) {
  std::vector<int64_t> widths = {fashion_mnist::kPixels};
  widths.insert(widths.end(), hidden.begin(), hidden.end());
  widths.push_back(fashion_mnist::kClasses);
  return widths;
}

Network MakeNetwork(const std::vector<int64_t>& hidden) {
  return Network(NetworkWidths(hidden));
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
