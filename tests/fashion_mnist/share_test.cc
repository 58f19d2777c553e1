#include "client/examples/fashion_mnist/share.h"

#include <algorithm>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace accrue::fashion_mnist {
namespace {

std::vector<int64_t> Copy(absl::Span<const int64_t> batch) {
  return {batch.begin(), batch.end()};
}

TEST(ShareTest, AnEpochOfAllWorkersSeesEveryExampleOnce) {
  for (const int64_t workers : {1, 2, 3, 4, 7}) {
    for (const int64_t batch_size : {1, 8, 64, 1000}) {
      constexpr int64_t kExamples = 101;
      const int64_t batches = BatchesPerEpoch(kExamples, workers, batch_size);
      std::multiset<int64_t> seen;
      for (int64_t worker = 0; worker < workers; ++worker) {
        Share share(kExamples, workers, worker, batches, 1);
        for (int64_t version = 0; version < batches; ++version) {
          const auto batch = share.Batch(version);
          EXPECT_FALSE(batch.empty());
          seen.insert(batch.begin(), batch.end());
        }
      }
      EXPECT_EQ(seen.size(), kExamples);
      EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), kExamples);
    }
  }
}

TEST(ShareTest, BatchesDifferInSizeByOneAtMost) {
  const int64_t batches = BatchesPerEpoch(60000, 4, 64);
  EXPECT_EQ(batches, 15000 / 64);
  Share share(60000, 4, 1, batches, 1);
  for (int64_t version = 0; version < batches; ++version) {
    const auto size = share.Batch(version).size();
    EXPECT_TRUE(size == 64 || size == 65) << size;
  }
}

TEST(ShareTest, ABatchDependsOnItsVersionOnly) {
  Share forward(1000, 4, 2, 10, 5);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t version = 0; version < 30; ++version) {
    batches.push_back(Copy(forward.Batch(version)));
  }
  Share backward(1000, 4, 2, 10, 5);
  for (int64_t version = 30; version-- > 0;) {
    EXPECT_EQ(Copy(backward.Batch(version)), batches[version]) << version;
  }
}

TEST(ShareTest, EpochsWorkersAndSeedsShuffleDifferently) {
  const auto first = Copy(Share(1000, 1, 0, 10, 5).Batch(0));
  EXPECT_NE(first, Copy(Share(1000, 1, 0, 10, 5).Batch(10)));
  EXPECT_NE(first, Copy(Share(1000, 1, 0, 10, 6).Batch(0)));
}

TEST(ShareTest, ABatchLargerThanTheShareIsTheShare) {
  EXPECT_EQ(BatchesPerEpoch(10, 4, 64), 1);
  Share share(10, 4, 3, 1, 1);
  EXPECT_EQ(share.Batch(0).size(), 2);
}

}  // namespace
}  // namespace accrue::fashion_mnist
