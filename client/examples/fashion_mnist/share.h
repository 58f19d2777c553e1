// Share: one worker's part of the training data, in minibatches.
//
// The version is the clock: the push toward version v + 1 is computed from
// batch v mod batches_per_epoch() of epoch v / batches_per_epoch(). So every
// worker has the same number of batches, no cycle is ever short of one, and a
// worker that was restarted goes on where the model is. What a worker pushes in
// several steps is one batch here.
//
// Invariant. the batches of one epoch are a partition of the share, the shares
//            a partition of the data; sizes differ by at most one
// Threading. compatible

#ifndef ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_SHARE_H_
#define ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_SHARE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace accrue::fashion_mnist {

// How many batches of about `batch_size` every worker makes of its share; at
// least 1. worker_count must not exceed example_count.
int64_t BatchesPerEpoch(int64_t example_count, int64_t worker_count,
                        int64_t batch_size);

class Share {
 public:
  // Worker 0 to worker_count - 1.
  Share(int64_t example_count, int64_t worker_count, int64_t worker,
        int64_t batches_per_epoch, uint64_t seed);

  // Indices of examples; valid until the next call.
  absl::Span<const int64_t> Batch(int64_t version);

 private:
  // The order of this epoch, whatever came before.
  void Shuffle(int64_t epoch);

  const int64_t first_example_;
  const int64_t stride_;
  const int64_t batches_per_epoch_;
  const uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

}  // namespace accrue::fashion_mnist

#endif  // ACCRUE_CLIENT_EXAMPLES_FASHION_MNIST_SHARE_H_
