#include "server/kernels/encoding.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace accrue::kernels {
namespace {

TEST(EncodingTest, APayloadHasTheSizeThatItsElementsTake) {
  struct Row {
    Encoding encoding;
    int64_t elems;
    int64_t bytes;
  };
  for (const Row& row : {Row{Encoding::kF32, 3, 12},
                         {Encoding::kBf16, 3, 6},
                         {Encoding::kF16, 3, 6},
                         {Encoding::kInt8, 1, 5},
                         {Encoding::kInt8, 1024, 1028},
                         {Encoding::kInt8, 1025, 1033}}) {
    const PayloadBytes want = PayloadBytesOf(row.encoding, row.elems);
    EXPECT_TRUE(want.Allow(row.bytes)) << row.elems;
    EXPECT_FALSE(want.Allow(row.bytes - 1) || want.Allow(row.bytes + 1));
  }
}

TEST(EncodingTest, PairsTakeNoMoreThanFloatsButThereIsOne) {
  for (const int64_t elems : {1, 2, 3, 4, 5, 1000, 1001}) {
    const PayloadBytes want = PayloadBytesOf(Encoding::kTopK, elems);
    const int64_t most = elems == 1 ? 1 : elems / 2;
    for (int64_t pairs = 0; pairs <= elems + 1; ++pairs) {
      EXPECT_EQ(want.Allow(8 * pairs), pairs >= 1 && pairs <= most)
          << pairs << " of " << elems;
      EXPECT_FALSE(want.Allow(8 * pairs + 4));
    }
  }
}

}  // namespace
}  // namespace accrue::kernels
