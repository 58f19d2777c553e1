#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "server/kernels/convert.h"
#include "server/kernels/payload_reader.h"
#include "tests/kernels/device_kernels_fixture.h"
#include "tests/kernels/payloads.h"

namespace accrue::kernels {
namespace {

class DeviceRecodeTest : public DeviceKernelsTest {};

constexpr float kUntouched = 17;
constexpr Encoding kDecoded[] = {Encoding::kBf16, Encoding::kF16,
                                 Encoding::kInt8, Encoding::kTopK};

// The bytes of a payload that hold elements [begin, end), as DecodeLaunch
// wants them.
std::vector<std::byte> Slice(const std::vector<std::byte>& payload,
                             Encoding encoding, int64_t begin, int64_t end) {
  int64_t first = begin * 2, last = end * 2;
  if (encoding == Encoding::kInt8) {
    const int64_t block = begin / kScaledElems;
    const int64_t blocks = (end + kScaledElems - 1) / kScaledElems;
    first = block * (kScaleBytes + kScaledElems);
    last = end + blocks * kScaleBytes;
  }
  if (encoding == Encoding::kTopK) {
    const auto pair_of = [&](int64_t element) {
      int64_t pair = 0;
      for (; pair < static_cast<int64_t>(payload.size()) / kPairBytes; ++pair) {
        uint32_t index;
        std::memcpy(&index, payload.data() + pair * kPairBytes, sizeof(index));
        if (index >= element) break;
      }
      return pair;
    };
    first = pair_of(begin) * kPairBytes;
    last = pair_of(end) * kPairBytes;
  }
  if (begin == end) last = first;
  return {payload.begin() + first, payload.begin() + last};
}

TEST_P(DeviceRecodeTest, APieceIsDecodedAsTheCpuReadsIt) {
  const uint64_t seed = 3;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  constexpr int64_t kElems = 9001;
  for (const Encoding encoding : kDecoded) {
    const std::vector<std::byte> payload =
        RandomBytes(kElems, encoding, random);
    const ByteChain chain =
        ByteChain::View(payload.data(), static_cast<int64_t>(payload.size()));
    PayloadReader reader(chain, encoding);
    for (const int64_t begin : {0, 1, 3, 1023, 1024, 1025, 4097}) {
      for (const int64_t count : {0, 1, 3, 15, 16, 17, 1024, 2049, 4904}) {
        SCOPED_TRACE(testing::Message()
                     << "encoding " << static_cast<int>(encoding) << ", "
                     << count << " elements from " << begin);
        std::vector<float> want(static_cast<size_t>(count));
        std::vector<std::byte> encoded(static_cast<size_t>(2 * count));
        reader.Read(begin, count, want.data(), encoded.data());
        want.push_back(kUntouched);

        const std::vector<std::byte> bytes =
            Slice(payload, encoding, begin, begin + count);
        // A payload may begin at any byte.
        const auto raw = Put(bytes, static_cast<int64_t>(random() % 4));
        std::vector<float> before(want.size(),
                                  encoding == Encoding::kTopK ? 0 : NAN);
        before.back() = kUntouched;
        const auto out = Put(before, begin % 4);
        const auto pairs = static_cast<int64_t>(bytes.size()) / kPairBytes;
        ASSERT_TRUE(kernels()
                        .Decode(stream(), {.encoding = encoding,
                                           .begin = begin,
                                           .count = count,
                                           .raw = raw.data(),
                                           .pair_count = pairs,
                                           .out = out.data()})
                        .ok());
        ASSERT_TRUE(SameBytes(out.Read(), want));
      }
    }
  }
}

TEST_P(DeviceRecodeTest, PairsOfOtherElementsAreLeftOut) {
  const uint64_t seed = 4;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  const std::vector<std::byte> payload =
      RandomBytes(100, Encoding::kTopK, random);
  const auto raw = Put(payload);
  const auto vector = Put(std::vector<float>(100));
  ASSERT_TRUE(kernels()
                  .Decode(stream(), {.encoding = Encoding::kTopK,
                                     .begin = 40,
                                     .count = 30,
                                     .raw = raw.data(),
                                     .pair_count = static_cast<int64_t>(
                                         payload.size() / kPairBytes),
                                     .out = vector.data() + 40})
                  .ok());
  const ByteChain chain =
      ByteChain::View(payload.data(), static_cast<int64_t>(payload.size()));
  std::vector<float> want(100);
  PayloadReader(chain, Encoding::kTopK).Read(40, 30, want.data() + 40, nullptr);
  EXPECT_TRUE(SameBytes(vector.Read(), want));
}

TEST_P(DeviceRecodeTest, EveryHalfWidensAsOnTheCpu) {
  std::vector<std::byte> halves(2 << 16);
  for (uint32_t i = 0; i < 1 << 16; ++i) {
    const auto half = static_cast<uint16_t>(i);
    std::memcpy(halves.data() + 2 * i, &half, sizeof(half));
  }
  for (const Encoding encoding : {Encoding::kBf16, Encoding::kF16}) {
    std::vector<float> want(1 << 16);
    Decode(halves.data(), 1 << 16, encoding, want.data());
    const auto raw = Put(halves);
    const auto out = Put(std::vector<float>(1 << 16));
    ASSERT_TRUE(kernels()
                    .Decode(stream(), {.encoding = encoding,
                                       .count = 1 << 16,
                                       .raw = raw.data(),
                                       .out = out.data()})
                    .ok());
    EXPECT_TRUE(SameBytes(out.Read(), want));
  }
}

// Where rounding turns over, and beside it; what is no number; and any bits.
std::vector<float> FloatsToNarrow(uint64_t seed) {
  std::vector<float> floats;
  for (uint32_t high = 0; high < 1 << 16; ++high) {
    for (const uint32_t low : {0x0u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      floats.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  // Half-way between two of kF16.
  for (uint32_t bits = 0x1000; bits < 0x80000000; bits += 0x2000) {
    for (const uint32_t nearby : {bits - 1, bits, bits + 1}) {
      floats.push_back(std::bit_cast<float>(nearby));
    }
  }
  Random random(seed);
  for (int i = 0; i < 100000; ++i) {
    floats.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  }
  return floats;
}

TEST_P(DeviceRecodeTest, FloatsNarrowAsOnTheCpu) {
  const uint64_t seed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const std::vector<float> floats = FloatsToNarrow(seed);
  const auto in = Put(floats);
  for (const Encoding encoding : {Encoding::kBf16, Encoding::kF16}) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{255}, size_t{256},
                               size_t{257}, floats.size()}) {
      std::vector<uint16_t> want(count + 1, 0xa5a5);
      Encode(floats.data(), static_cast<int64_t>(count), encoding,
             reinterpret_cast<std::byte*>(want.data()));
      const auto out = Put(std::vector<uint16_t>(count + 1, 0xa5a5));
      ASSERT_TRUE(kernels()
                      .Encode(stream(), {.encoding = encoding,
                                         .count = static_cast<int64_t>(count),
                                         .in = in.data(),
                                         .out = out.data()})
                      .ok());
      ASSERT_TRUE(SameBytes(out.Read(), want));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, DeviceRecodeTest, AllKernels(), KernelsName);

}  // namespace
}  // namespace accrue::kernels
