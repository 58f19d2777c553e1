#include "server/kernels/payload_slice.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/payloads.h"

namespace accrue::kernels {
namespace {

constexpr Encoding kEncodings[] = {Encoding::kF32, Encoding::kBf16,
                                   Encoding::kF16, Encoding::kInt8,
                                   Encoding::kTopK};

// What of `bytes` holds elements [begin, end), by encoding.h's words.
std::vector<std::byte> Expected(const std::vector<std::byte>& bytes,
                                Encoding encoding, int64_t elems, int64_t begin,
                                int64_t end) {
  std::vector<std::byte> want;
  const auto take = [&](int64_t from, int64_t size) {
    want.insert(want.end(), bytes.begin() + from, bytes.begin() + from + size);
  };
  if (IsPlain(encoding)) {
    take(begin * EncodedBytes(encoding),
         (end - begin) * EncodedBytes(encoding));
  } else if (encoding == Encoding::kInt8) {
    for (int64_t first = 0, at = 0; first < elems; first += kScaledElems) {
      const int64_t size = std::min(kScaledElems, elems - first);
      if (first < end && first + size > begin) take(at, kScaleBytes + size);
      at += kScaleBytes + size;
    }
  } else {
    for (size_t at = 0; at < bytes.size(); at += kPairBytes) {
      uint32_t index;
      std::memcpy(&index, bytes.data() + at, sizeof(index));
      if (index >= begin && index < end) {
        take(static_cast<int64_t>(at), kPairBytes);
      }
    }
  }
  return want;
}

TEST(PayloadSliceTest, HoldsTheBytesOfItsElementsAndNoOthers) {
  const uint64_t seed = 23;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const Encoding encoding : kEncodings) {
    for (const int64_t elems : {1, 17, 1024, 1025, 5003}) {
      const std::vector<std::byte> bytes = RandomBytes(elems, encoding, random);
      const ByteChain chain = CutIntoSpans(bytes, 97, 1, random);
      for (int i = 0; i < 50; ++i) {
        const auto begin =
            static_cast<int64_t>(random() % static_cast<uint64_t>(elems));
        const auto count =
            1 + static_cast<int64_t>(random() %
                                     static_cast<uint64_t>(elems - begin));
        const PayloadSlice slice =
            FindSlice({&chain, encoding}, elems, begin, count);
        ASSERT_LE(slice.size_bytes, MaxSliceBytes(encoding, count));
        std::vector<std::byte> got(static_cast<size_t>(slice.size_bytes));
        CopySlice(chain, slice, got.data());
        ASSERT_EQ(got, Expected(bytes, encoding, elems, begin, begin + count))
            << "encoding " << static_cast<int>(encoding) << ", elements "
            << begin << " +" << count << " of " << elems;
      }
    }
  }
}

TEST(PayloadSliceTest, OfNoElementsIsEmpty) {
  const ByteChain empty;
  for (const Encoding encoding : kEncodings) {
    EXPECT_EQ(FindSlice({&empty, encoding}, 0, 0, 0).size_bytes, 0);
  }
}

}  // namespace
}  // namespace accrue::kernels
