#include "server/kernels/payload_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/payloads.h"
#include "tests/kernels/reference_pass.h"
#include "tests/kernels/simd_targets.h"

namespace accrue::kernels {
namespace {

class PayloadReaderTest : public testing::TestWithParam<Encoding> {
 protected:
  // Elements [offset, offset + size) of the reader's are those of `want`.
  static void ExpectPiece(PayloadReader& reader, int64_t offset, int64_t size,
                          const std::vector<float>& want) {
    std::vector<float> scratch(static_cast<size_t>(size));
    std::vector<std::byte> encoded(static_cast<size_t>(2 * size));
    const float* got =
        reader.Read(offset, size, scratch.data(), encoded.data());
    for (int64_t i = 0; i < size; ++i) {
      float x;  // read in place, it may lie anywhere
      std::memcpy(&x, static_cast<const void*>(got + i), sizeof(x));
      ASSERT_EQ(std::bit_cast<uint32_t>(x),
                std::bit_cast<uint32_t>(want[static_cast<size_t>(offset + i)]))
          << "element " << offset + i;
    }
  }
};

TEST_P(PayloadReaderTest, AnyPieceInAnyOrderIsThatOfTheDefinition) {
  const uint64_t seed = 17;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const int64_t elems : {1, 3, 15, 16, 17, 1023, 1024, 1025, 5003}) {
    for (const int64_t max_span : {1, 3, 61, 4099, 1 << 20}) {
      const ByteChain chain =
          CutIntoSpans(RandomBytes(elems, GetParam(), random), max_span,
                       static_cast<int64_t>(random() % 4), random);
      const std::vector<float> want =
          DecodeReference({&chain, GetParam()}, elems);
      SCOPED_TRACE(testing::Message()
                   << elems << " elements, spans to " << max_span);
      ForEachSimdTarget([&] {
        PayloadReader reader(chain, GetParam());
        // As a pass reads them, then with gaps and back.
        for (int64_t at = 0, size; at < elems; at += size) {
          size = std::min<int64_t>(elems - at,
                                   1 + static_cast<int64_t>(random() % 2048));
          ExpectPiece(reader, at, size, want);
        }
        for (int i = 0; i < 20; ++i) {
          const auto at =
              static_cast<int64_t>(random() % static_cast<uint64_t>(elems));
          const auto size =
              1 + static_cast<int64_t>(random() %
                                       static_cast<uint64_t>(std::min<int64_t>(
                                           elems - at, 2048)));
          ExpectPiece(reader, at, size, want);
        }
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Encodings, PayloadReaderTest,
                         testing::Values(Encoding::kF32, Encoding::kBf16,
                                         Encoding::kF16, Encoding::kInt8,
                                         Encoding::kTopK));

}  // namespace
}  // namespace accrue::kernels
