// Dataset: Fashion-MNIST, 28 x 28 gray images of ten kinds of clothes.

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_DATASET_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_DATASET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace accrue::fashion_mnist {

inline constexpr int64_t kPixels = 28 * 28;
inline constexpr int64_t kClasses = 10;
inline constexpr char kDefaultFolder[] = "/usr/share/datasets/fashion-mnist";

// Images and their classes, as bytes.
struct Examples {
  std::vector<uint8_t> images;  // [count, kPixels]
  std::vector<uint8_t> labels;  // [count], each below kClasses

  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

// A minibatch as the network takes it.
struct Batch {
  Eigen::MatrixXf inputs;  // [kPixels, count], mean 0 and variance 1 over all
  std::vector<uint8_t> labels;
};

enum class Part { kTrain, kTest };

// NOT_FOUND: the folder or a file is not there; the message names the Debian
// package that brings it. DATA_LOSS: damaged, or not this dataset.
absl::StatusOr<Examples> LoadExamples(const std::string& folder, Part part);

// The training data, or its first `count` examples if that is not 0.
// INVALID_ARGUMENT: there are fewer.
absl::StatusOr<Examples> LoadTrainingExamples(const std::string& folder,
                                              int64_t count);

// The examples of these indices, in their order.
void Gather(const Examples& examples, absl::Span<const int64_t> indices,
            Batch* batch);

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_DATASET_H_
