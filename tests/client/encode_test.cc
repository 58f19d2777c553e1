#include "client/cpp/src/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/client/decode.h"

namespace accrue::client::internal {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Encoded {
  std::vector<float> sent;  // as the daemon decodes it
  std::vector<float> left;
  size_t bytes = 0;
};

Encoded Encode(const Compression& compression, std::vector<float> x) {
  std::vector<std::byte> bytes;
  EncodeLossy(compression, absl::MakeSpan(x), &bytes);
  return {DecodePayload(compression.encoding,
                        std::string(reinterpret_cast<const char*>(bytes.data()),
                                    bytes.size()),
                        x.size()),
          x, bytes.size()};
}

std::vector<float> RandomFloats(size_t count, std::mt19937_64& random) {
  std::vector<float> x(count);
  for (float& value : x) {
    value = std::ldexp(std::uniform_real_distribution<float>(-1, 1)(random),
                       static_cast<int>(random() % 12) - 6);
  }
  return x;
}

TEST(EncodeTest, WhatIsSentAndWhatIsLeftAreTheWhole) {
  const uint64_t seed = 1;
  std::mt19937_64 random(seed);
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const Encoding encoding :
       {Encoding::kBf16, Encoding::kF16, Encoding::kInt8, Encoding::kTopK}) {
    for (const size_t count : {1, 3, 1023, 1024, 1025, 5003}) {
      const std::vector<float> x = RandomFloats(count, random);
      const Encoded encoded = Encode({.encoding = encoding}, x);
      for (size_t i = 0; i < count; ++i) {
        // Of a rounding the rest is a float, but not of int8's own product.
        ASSERT_EQ(encoded.left[i], x[i] - encoded.sent[i]) << i;
        if (encoding == Encoding::kInt8) continue;
        ASSERT_EQ(static_cast<double>(encoded.left[i]) + encoded.sent[i], x[i]);
      }
    }
  }
}

TEST(EncodeTest, HalvesAreRoundedToNearestEven) {
  const std::vector<float> x = {1 + 0x1p-8f,  1 + 0x3p-8f, 1 + 0x1.8p-8f,
                                -1 - 0x1p-8f, 0x1p-133f,   -0.0f};
  EXPECT_EQ(
      Encode({.encoding = Encoding::kBf16}, x).sent,
      (std::vector<float>{1, 1 + 0x1p-6f, 1 + 0x1p-7f, -1, 0x1p-133f, 0}));
  const std::vector<float> y = {1 + 0x1p-11f, 1 + 0x3p-11f, 65519,
                                0x1p-24f,     0x1p-25f,     0x1.8p-25f};
  EXPECT_EQ(Encode({.encoding = Encoding::kF16}, y).sent,
            (std::vector<float>{1, 1 + 0x1p-9f, 65504, 0x1p-24f, 0, 0x1p-24f}));
}

TEST(EncodeTest, Int8RoundsToHalfAStepAndTheLargestExactly) {
  const uint64_t seed = 2;
  std::mt19937_64 random(seed);
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const size_t count : {1, 1024, 2500}) {
    const std::vector<float> x = RandomFloats(count, random);
    const Encoded encoded = Encode({.encoding = Encoding::kInt8}, x);
    EXPECT_EQ(encoded.bytes, count + 4 * ((count + 1023) / 1024));
    for (size_t begin = 0; begin < count; begin += 1024) {
      float largest = 0;
      for (size_t i = begin; i < std::min(count, begin + 1024); ++i) {
        largest = std::max(largest, std::fabs(x[i]));
      }
      for (size_t i = begin; i < std::min(count, begin + 1024); ++i) {
        // The scale, quotient and product round once each, by 2^-24 of at most
        // 127 steps.
        ASSERT_LE(std::fabs(encoded.left[i]),
                  largest / 127 * (0.5 + 3 * 127 * 0x1p-24));
      }
    }
  }
  // Ties: 127 is the largest, so that a step is 1.
  const std::vector<float> x = {127, 0.5f, 1.5f, -2.5f, -3.5f, 0, -127};
  EXPECT_EQ(Encode({.encoding = Encoding::kInt8}, x).sent,
            (std::vector<float>{127, 0, 2, -2, -4, 0, -127}));
}

// (The daemon takes no gradient beyond 2^63.)
TEST(EncodeTest, Int8OfTheSmallestAndTheLargest) {
  for (const float largest :
       {0.0f, 0x1p-149f, 0x1p-142f, 0x1.8p-143f, 0x1p-126f, 0x1p63f}) {
    const std::vector<float> x = {largest, -largest / 3, 0};
    const Encoded encoded = Encode({.encoding = Encoding::kInt8}, x);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_TRUE(std::isfinite(encoded.sent[i]));
      EXPECT_LE(std::fabs(encoded.left[i]), largest);
    }
  }
}

// A denormal scale would have too few bits: none is sent, and nothing is lost.
TEST(EncodeTest, Int8LeavesWhatIsTooSmallForAScale) {
  const float smallest = 127 * 0x1p-126f;
  for (const float largest : {0x1p-149f, 0x1p-143f, 0x1.8p-142f, 0x1p-126f,
                              std::nextafter(smallest, 0.0f)}) {
    std::vector<float> x(1025, largest / 3);
    x[1000] = -largest;
    std::vector<float> left = x;
    std::vector<std::byte> bytes;
    EncodeLossy({.encoding = Encoding::kInt8}, absl::MakeSpan(left), &bytes);
    EXPECT_EQ(bytes, std::vector<std::byte>(bytes.size())) << largest;
    EXPECT_EQ(left, x) << largest;
  }
  EXPECT_EQ(Encode({.encoding = Encoding::kInt8}, {-smallest, 0x1p-126f}).sent,
            (std::vector<float>{-smallest, 0x1p-126f}));
}

TEST(EncodeTest, TopKTakesTheLargestAndOfEqualOnesTheFirst) {
  const uint64_t seed = 3;
  std::mt19937_64 random(seed);
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const size_t count : {1, 2, 17, 1000, 4099}) {
    for (const double fraction : {1e-9, 0.01, 0.1, 0.5}) {
      for (const bool few_values : {false, true}) {
        std::vector<float> x = RandomFloats(count, random);
        if (few_values) {
          for (float& value : x) {
            value = static_cast<float>(random() % 7) - 3;
          }
        }
        std::vector<size_t> order(count);
        std::iota(order.begin(), order.end(), size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
          return std::fabs(x[a]) > std::fabs(x[b]);
        });
        // No more than half: pairs would take more than the floats.
        const size_t wanted = std::clamp<size_t>(
            static_cast<size_t>(
                std::round(fraction * static_cast<double>(count))),
            1, std::max<size_t>(count / 2, 1));
        std::vector<float> sent(count);
        for (size_t i = 0; i < wanted; ++i) sent[order[i]] = x[order[i]];
        const Encoded encoded =
            Encode({.encoding = Encoding::kTopK, .top_fraction = fraction}, x);
        ASSERT_EQ(encoded.sent, sent) << count << " elements, " << fraction;
        ASSERT_LE(encoded.bytes, 8 * wanted);
      }
    }
  }
}

TEST(EncodeTest, TopKSendsNoZerosButOneWhereThereIsNothingElse) {
  const Compression half = {.encoding = Encoding::kTopK, .top_fraction = 0.5};
  EXPECT_EQ(Encode(half, {0, -0.0f, 3, 0, -1, 0}).bytes, 16);
  EXPECT_EQ(Encode(half, {0, 0, 0, 0}).bytes, 8);
}

TEST(EncodeTest, WhatIsNotFiniteIsSentAsSuch) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kNan, -kNan, infinity, -infinity}) {
    std::vector<float> x(3000, 2.0f);
    x[1500] = bad;
    for (const Encoding encoding :
         {Encoding::kBf16, Encoding::kF16, Encoding::kInt8, Encoding::kTopK}) {
      const Encoded encoded =
          Encode({.encoding = encoding, .top_fraction = 0.001}, x);
      EXPECT_FALSE(std::isfinite(encoded.sent[1500]))
          << static_cast<int>(encoding);
      EXPECT_TRUE(std::isfinite(encoded.sent[0]));
    }
  }
}

}  // namespace
}  // namespace accrue::client::internal
