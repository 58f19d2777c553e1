#include "client/examples/fashion_mnist/dataset.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/examples/fashion_mnist/idx.h"
#include "server/base/status_macros.h"

namespace accrue::fashion_mnist {
namespace {

// Of all training pixels, scaled to [0, 1].
constexpr float kMean = 0.2860F;
constexpr float kDeviation = 0.3530F;

absl::StatusOr<IdxArray> ReadPart(const std::string& folder,
                                  absl::string_view name) {
  absl::StatusOr<IdxArray> array = ReadIdx(absl::StrCat(folder, "/", name));
  if (absl::IsNotFound(array.status())) {
    return absl::NotFoundError(absl::StrCat(
        array.status().message(),
        "; the Debian package dataset-fashion-mnist brings the data, --dataset "
        "names another folder"));
  }
  return array;
}

}  // namespace

absl::StatusOr<Examples> LoadExamples(const std::string& folder, Part part) {
  const absl::string_view prefix = part == Part::kTrain ? "train" : "t10k";
  ACCRUE_ASSIGN_OR_RETURN(
      IdxArray images,
      ReadPart(folder, absl::StrCat(prefix, "-images-idx3-ubyte.gz")));
  ACCRUE_ASSIGN_OR_RETURN(
      IdxArray labels,
      ReadPart(folder, absl::StrCat(prefix, "-labels-idx1-ubyte.gz")));
  const auto count = static_cast<int64_t>(labels.values.size());
  if (images.shape != std::vector<int64_t>{count, 28, 28} ||
      labels.shape.size() != 1 || count == 0) {
    return absl::DataLossError(absl::StrCat(
        folder, ": images or labels have another shape than Fashion-MNIST"));
  }
  if (*std::max_element(labels.values.begin(), labels.values.end()) >=
      kClasses) {
    return absl::DataLossError(
        absl::StrCat(folder, ": a label of more than ", kClasses - 1));
  }
  return Examples{.images = std::move(images.values),
                  .labels = std::move(labels.values)};
}

absl::StatusOr<Examples> LoadTrainingExamples(const std::string& folder,
                                              int64_t count) {
  ACCRUE_ASSIGN_OR_RETURN(Examples examples,
                          LoadExamples(folder, Part::kTrain));
  if (count == 0) return examples;
  if (count > examples.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--examples: ", count, ", there are ", examples.count()));
  }
  examples.images.resize(static_cast<size_t>(count * kPixels));
  examples.labels.resize(static_cast<size_t>(count));
  return examples;
}

void Gather(const Examples& examples, absl::Span<const int64_t> indices,
            Batch* batch) {
  const auto count = static_cast<int64_t>(indices.size());
  batch->inputs.resize(kPixels, count);
  batch->labels.resize(indices.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = indices[i];
    const Eigen::Map<const Eigen::Array<uint8_t, kPixels, 1>> pixels(
        examples.images.data() + index * kPixels);
    batch->inputs.col(i) = (pixels.cast<float>() / 255.0F - kMean) / kDeviation;
    batch->labels[i] = examples.labels[index];
  }
}

}  // namespace accrue::fashion_mnist
