#include "client/examples/fashion_mnist/share.h"

#include <algorithm>
#include <random>
#include <utility>

namespace accrue::fashion_mnist {

int64_t BatchesPerEpoch(int64_t example_count, int64_t worker_count,
                        int64_t batch_size) {
  // The smallest share decides, so that no batch of it is empty.
  const int64_t share = example_count / worker_count;
  return std::max<int64_t>(1, share / std::max<int64_t>(1, batch_size));
}

Share::Share(int64_t example_count, int64_t worker_count, int64_t worker,
             int64_t batches_per_epoch, uint64_t seed)
    : first_example_(worker),
      stride_(worker_count),
      batches_per_epoch_(batches_per_epoch),
      seed_(seed),
      order_(static_cast<size_t>((example_count - worker + worker_count - 1) /
                                 worker_count)) {}

void Share::Shuffle(int64_t epoch) {
  for (size_t i = 0; i < order_.size(); ++i) {
    order_[i] = first_example_ + static_cast<int64_t>(i) * stride_;
  }
  std::seed_seq seeds{
      static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32),
      static_cast<uint32_t>(first_example_), static_cast<uint32_t>(epoch)};
  std::mt19937_64 random(seeds);
  // std::shuffle may differ between libraries; this does not. The bias of the
  // remainder is below 2^-40.
  for (size_t i = order_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[random() % i]);
  }
  epoch_ = epoch;
}

absl::Span<const int64_t> Share::Batch(int64_t version) {
  const int64_t epoch = version / batches_per_epoch_;
  if (epoch != epoch_) Shuffle(epoch);
  const int64_t batch = version % batches_per_epoch_;
  const auto size = static_cast<int64_t>(order_.size());
  const int64_t begin = batch * size / batches_per_epoch_;
  const int64_t end = (batch + 1) * size / batches_per_epoch_;
  return absl::MakeConstSpan(order_).subspan(begin, end - begin);
}

}  // namespace accrue::fashion_mnist
