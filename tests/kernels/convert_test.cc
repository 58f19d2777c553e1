#include "server/kernels/convert.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/payloads.h"
#include "tests/kernels/reference_pass.h"
#include "tests/kernels/simd_targets.h"

namespace accrue::kernels {
namespace {

constexpr uint16_t kInfinity[] = {0, 0x7f80, 0x7c00};  // by Encoding

float WidenReference(uint16_t half, Encoding encoding) {
  return encoding == Encoding::kBf16 ? Bf16ToFloat(half) : F16ToFloat(half);
}

std::vector<uint16_t> EncodeAll(const std::vector<float>& in,
                                Encoding encoding) {
  std::vector<uint16_t> out(in.size());
  Encode(in.data(), static_cast<int64_t>(in.size()), encoding,
         reinterpret_cast<std::byte*>(out.data()));
  return out;
}

std::vector<float> DecodeAll(const std::vector<uint16_t>& in,
                             Encoding encoding) {
  std::vector<float> out(in.size());
  Decode(reinterpret_cast<const std::byte*>(in.data()),
         static_cast<int64_t>(in.size()), encoding, out.data());
  return out;
}

// Round to nearest, ties to even, by search among the finite halves: the
// definition, in double, where every value and every midpoint is exact.
uint16_t NarrowReference(float x, Encoding encoding) {
  const auto sign = static_cast<uint16_t>(std::signbit(x) ? 0x8000 : 0);
  const uint16_t infinity = kInfinity[static_cast<int>(encoding)];
  const double magnitude = std::fabs(static_cast<double>(x));
  uint16_t low = 0, high = infinity;  // value(low) <= |x| < value(high)
  if (std::isinf(x)) return sign | infinity;
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (WidenReference(middle, encoding) <= magnitude ? low : high) = middle;
  }
  const double below = WidenReference(low, encoding);
  // Infinity stands where the next finite number would.
  const double above =
      high == infinity
          ? below + (below -
                     WidenReference(static_cast<uint16_t>(low - 1), encoding))
          : WidenReference(high, encoding);
  const double middle = (below + above) / 2;
  const bool up = magnitude > middle || (magnitude == middle && low % 2 == 1);
  return static_cast<uint16_t>(sign | (up ? high : low));
}

class ConvertTest : public testing::TestWithParam<Encoding> {};

TEST_P(ConvertTest, WideningIsExactForEveryHalf) {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) {
    halves[i] = static_cast<uint16_t>(i);
  }
  ForEachSimdTarget([&] {
    const std::vector<float> wide = DecodeAll(halves, GetParam());
    for (size_t i = 0; i < halves.size(); ++i) {
      const float want = WidenReference(halves[i], GetParam());
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(wide[i])) << i;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]),
                  std::bit_cast<uint32_t>(want))
            << i;
      }
    }
    const std::vector<uint16_t> back = EncodeAll(wide, GetParam());
    for (size_t i = 0; i < halves.size(); ++i) {
      if (std::isnan(wide[i])) continue;
      ASSERT_EQ(back[i], halves[i]);
    }
  });
}

TEST_P(ConvertTest, NarrowingRoundsToNearestEven) {
  std::vector<float> floats;
  // Every finite half, every midpoint to the next (up to where rounding
  // overflows), and the floats next to them.
  for (uint32_t i = 0; i < kInfinity[static_cast<int>(GetParam())]; ++i) {
    const auto half = static_cast<uint16_t>(i);
    const double here = WidenReference(half, GetParam());
    const double step =
        i == 0
            ? WidenReference(1, GetParam())
            : here - WidenReference(static_cast<uint16_t>(i - 1), GetParam());
    const bool last = i + 1u == kInfinity[static_cast<int>(GetParam())];
    const double next =
        last ? here + step
             : WidenReference(static_cast<uint16_t>(i + 1), GetParam());
    for (const double value : {here, (here + next) / 2}) {
      const auto x = static_cast<float>(value);
      for (const float y :
           {x, std::nextafter(x, 0.0f), std::nextafter(x, HUGE_VALF)}) {
        floats.push_back(y);
        floats.push_back(-y);
      }
    }
  }
  for (const float x : {65504.0f, 65519.996f, 65520.0f, 65536.0f, 1e30f,
                        3.4028235e38f, HUGE_VALF, 0x1p-149f, 0x1p-126f}) {
    floats.push_back(x);
    floats.push_back(-x);
  }
  const uint64_t seed = 7;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  while (floats.size() < 600000) {
    const auto x = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isnan(x)) floats.push_back(x);
  }
  std::vector<uint16_t> want(floats.size());
  for (size_t i = 0; i < floats.size(); ++i) {
    want[i] = NarrowReference(floats[i], GetParam());
  }
  ForEachSimdTarget([&] {
    const std::vector<uint16_t> got = EncodeAll(floats, GetParam());
    for (size_t i = 0; i < floats.size(); ++i) {
      ASSERT_EQ(got[i], want[i]) << std::hexfloat << floats[i];
    }
  });
}

TEST_P(ConvertTest, ANaNStaysOneAndKeepsItsSign) {
  std::vector<float> nans;
  for (const uint32_t fraction :
       {1u, 0x1fffu, 0x2000u, 0x3fffffu, 0x400000u, 0x7fffffu}) {
    nans.push_back(std::bit_cast<float>(0x7f800000u | fraction));
    nans.push_back(std::bit_cast<float>(0xff800000u | fraction));
  }
  ForEachSimdTarget([&] {
    const std::vector<float> back =
        DecodeAll(EncodeAll(nans, GetParam()), GetParam());
    for (size_t i = 0; i < nans.size(); ++i) {
      EXPECT_TRUE(std::isnan(back[i]));
      EXPECT_EQ(std::signbit(back[i]), std::signbit(nans[i]));
    }
  });
}

TEST_P(ConvertTest, AnyLengthAtAnyAlignmentTouchesNothingElse) {
  const uint64_t seed = 11;
  Random random(seed);
  for (const size_t count : {0, 1, 3, 15, 16, 17, 31, 127}) {
    for (const size_t offset : {0, 1, 3}) {
      const std::vector<float> in =
          RandomFloats(static_cast<int64_t>(count), random);
      const std::vector<uint16_t> want = EncodeAll(in, GetParam());
      const std::vector<float> wide = DecodeAll(want, GetParam());
      ForEachSimdTarget([&] {
        std::vector<std::byte> out(offset + 2 * count + 8, std::byte{0xa5});
        Encode(in.data(), static_cast<int64_t>(count), GetParam(),
               out.data() + offset);
        // (memcmp may not be handed the null pointer of an empty vector.)
        EXPECT_TRUE(count == 0 || std::memcmp(out.data() + offset, want.data(),
                                              2 * count) == 0);
        for (size_t i = 0; i < out.size(); ++i) {
          if (i < offset || i >= offset + 2 * count) {
            ASSERT_EQ(out[i], std::byte{0xa5});
          }
        }
        std::vector<float> back(count + 1, 42.0f);
        Decode(out.data() + offset, static_cast<int64_t>(count), GetParam(),
               back.data());
        EXPECT_TRUE(count == 0 ||
                    std::memcmp(back.data(), wide.data(), 4 * count) == 0);
        EXPECT_EQ(back[count], 42.0f);
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Halves, ConvertTest,
                         testing::Values(Encoding::kBf16, Encoding::kF16));

TEST(ConvertTest, FloatsAreCopied) {
  const std::vector<float> in = {0.0f, -0.0f, 1e-45f, 3.0f, HUGE_VALF};
  std::vector<std::byte> bytes(4 * in.size());
  Encode(in.data(), 5, Encoding::kF32, bytes.data());
  std::vector<float> out(5);
  Decode(bytes.data(), 5, Encoding::kF32, out.data());
  EXPECT_EQ(std::memcmp(in.data(), out.data(), 20), 0);
}

}  // namespace
}  // namespace accrue::kernels
