#include "client/examples/fashion_mnist/evaluation.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace accrue::fashion_mnist {
namespace {

// Enough to keep a core busy, little enough for its caches.
constexpr int64_t kAtOnce = 250;

}  // namespace

double Accuracy(Mlp<float>& network, absl::Span<const float> parameters,
                const Examples& examples, int64_t count) {
  count = std::min(count, examples.count());
  Batch batch;
  std::vector<int64_t> indices;
  int64_t correct = 0;
  for (int64_t begin = 0; begin < count; begin += kAtOnce) {
    indices.resize(static_cast<size_t>(std::min(kAtOnce, count - begin)));
    std::iota(indices.begin(), indices.end(), begin);
    Gather(examples, indices, &batch);
    correct += network.CountCorrect(parameters, batch.inputs, batch.labels);
  }
  return static_cast<double>(correct) / static_cast<double>(count);
}

}  // namespace accrue::fashion_mnist
