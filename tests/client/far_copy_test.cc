#include "client/cpp/src/far_copy.h"

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

namespace accrue::client::internal {
namespace {

TEST(FarCopyTest, CopiesWhatMemcpyWouldAndNothingElse) {
  constexpr size_t kMargin = 64;
  constexpr std::byte kUntouched{0xee};
  for (const size_t size : {0, 1, 15, 16, 63, 64, 65, 127, 128, 1009, 65536}) {
    std::vector<std::byte> from(size + kMargin);
    for (size_t i = 0; i < from.size(); ++i) from[i] = std::byte(i * 7 % 251);
    for (const size_t in : {0, 1, 3, 16}) {
      for (const size_t out : {0, 1, 3, 16, 63}) {
        std::vector<std::byte> to(size + 2 * kMargin, kUntouched);
        FarCopy(to.data() + out, from.data() + in, size);
        for (size_t i = 0; i < to.size(); ++i) {
          const bool inside = i >= out && i < out + size;
          ASSERT_EQ(to[i], inside ? from[i - out + in] : kUntouched)
              << size << " bytes from " << in << " to " << out << ", at " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace accrue::client::internal
