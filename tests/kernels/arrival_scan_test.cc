#include "server/kernels/arrival_scan.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/payloads.h"
#include "tests/kernels/reference_pass.h"
#include "tests/kernels/simd_targets.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace accrue::kernels {
namespace {

struct Facts {
  bool finite;
  int64_t first_non_finite;
  double max_abs;
  std::vector<double> group_square_sums;
};

Facts Scan(const std::shared_ptr<const BlockMap>& blocks, Encoding encoding,
           const std::vector<std::byte>& bytes, int64_t max_piece,
           Random& random) {
  ArrivalScan scan(blocks, encoding);
  const ByteChain chain = CutIntoSpans(
      bytes, max_piece, static_cast<int64_t>(random() % 4), random);
  for (const ByteChain::Span& span : chain.spans()) {
    scan.Update(span.data, span.size);
  }
  return {scan.finite(), scan.first_non_finite(), scan.max_abs(),
          scan.group_square_sums()};
}

// Element by element, lanes by the definition.
Facts ScanReference(const BlockMap& blocks, Encoding encoding,
                    const std::vector<std::byte>& bytes) {
  const ByteChain chain =
      ByteChain::View(bytes.data(), static_cast<int64_t>(bytes.size()));
  const std::vector<float> x =
      DecodeReference({&chain, encoding}, blocks.elems);
  Facts facts = {true, -1, 0, std::vector<double>(blocks.group_elems.size())};
  for (const Block& block : blocks.blocks) {
    double lanes[16] = {};
    for (int64_t i = 0; i < block.size; ++i) {
      const double value = x[static_cast<size_t>(block.offset + i)];
      if (!std::isfinite(value) && facts.finite) {
        facts.finite = false;
        facts.first_non_finite = block.offset + i;
      }
      facts.max_abs = std::max(facts.max_abs, std::fabs(value));
      lanes[i % 16] += value * value;
    }
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    facts.group_square_sums[static_cast<size_t>(block.group)] += sum;
  }
  return facts;
}

void ExpectSame(const Facts& got, const Facts& want) {
  EXPECT_EQ(got.finite, want.finite);
  EXPECT_EQ(got.first_non_finite, want.first_non_finite);
  if (!want.finite) return;
  EXPECT_EQ(got.max_abs, want.max_abs);
  EXPECT_EQ(got.group_square_sums, want.group_square_sums);
}

class ArrivalScanTest : public testing::TestWithParam<Encoding> {};

TEST_P(ArrivalScanTest, AgreesWithTheDefinitionHoweverThePayloadIsCut) {
  const uint64_t seed = 3;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  const std::vector<std::vector<int64_t>> models = {
      {0},
      {1},
      {3},
      {15},
      {16},
      {17},
      {kBlockElems - 1},
      {kBlockElems},
      {kBlockElems + 1},
      {40009},
      {5, kBlockElems + 3, 0, 17, 16, 1}};
  for (const auto& elems : models) {
    std::vector<int32_t> groups;
    for (size_t i = 0; i < elems.size(); ++i) {
      groups.push_back(static_cast<int32_t>(i % 2));
    }
    const auto blocks =
        std::make_shared<const BlockMap>(MakeBlockMap(elems, groups, 2));
    const std::vector<std::byte> bytes =
        RandomBytes(blocks->elems, GetParam(), random);
    const Facts want = ScanReference(*blocks, GetParam(), bytes);
    for (const int64_t max_piece : {1, 3, 61, 4099, 1 << 20}) {
      SCOPED_TRACE(testing::Message()
                   << blocks->elems << " elements, pieces to " << max_piece);
      ForEachSimdTarget([&] {
        ExpectSame(Scan(blocks, GetParam(), bytes, max_piece, random), want);
      });
    }
  }
}

using PlainArrivalScanTest = ArrivalScanTest;

TEST_P(PlainArrivalScanTest, FindsTheFirstNonFiniteElementAnywhere) {
  const uint64_t seed = 4;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  const auto blocks = std::make_shared<const BlockMap>(
      MakeBlockMap({37, kBlockElems + 5}, {0, 1}, 2));
  const auto element_bytes = static_cast<size_t>(EncodedBytes(GetParam()));
  const std::vector<uint32_t> bad =
      GetParam() == Encoding::kF32
          ? std::vector<uint32_t>{0x7f800000, 0xff800000, 0x7f800001,
                                  0xffffffff}
      : GetParam() == Encoding::kBf16
          ? std::vector<uint32_t>{0x7f80, 0xff80, 0x7f81, 0xffff}
          : std::vector<uint32_t>{0x7c00, 0xfc00, 0x7c01, 0xffff};
  const std::vector<std::byte> good =
      RandomBytes(blocks->elems, GetParam(), random);
  for (const int64_t at :
       {int64_t{0}, int64_t{1}, int64_t{16}, int64_t{36}, int64_t{37},
        int64_t{100}, kBlockElems + 36, kBlockElems + 37, blocks->elems - 1}) {
    for (const uint32_t bits : bad) {
      std::vector<std::byte> bytes = good;
      std::memcpy(bytes.data() + static_cast<size_t>(at) * element_bytes, &bits,
                  element_bytes);
      // A second one behind it changes nothing.
      std::memcpy(bytes.data() + bytes.size() - element_bytes, &bits,
                  element_bytes);
      ForEachSimdTarget([&] {
        const Facts facts = Scan(blocks, GetParam(), bytes, 1000, random);
        EXPECT_FALSE(facts.finite);
        EXPECT_EQ(facts.first_non_finite, at);
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Encodings, ArrivalScanTest,
                         testing::Values(Encoding::kF32, Encoding::kBf16,
                                         Encoding::kF16, Encoding::kInt8,
                                         Encoding::kTopK));
INSTANTIATE_TEST_SUITE_P(Encodings, PlainArrivalScanTest,
                         testing::Values(Encoding::kF32, Encoding::kBf16,
                                         Encoding::kF16));

// A payload in Encoding::kInt8 whose values are all `value`.
std::vector<std::byte> Scaled(const std::vector<float>& scales, int64_t elems,
                              int8_t value) {
  std::vector<std::byte> bytes;
  for (const float scale : scales) {
    const auto* const data = reinterpret_cast<const std::byte*>(&scale);
    bytes.insert(bytes.end(), data, data + sizeof(scale));
    bytes.resize(
        bytes.size() + static_cast<size_t>(std::min(elems, kScaledElems)),
        std::byte(value));
    elems -= kScaledElems;
  }
  return bytes;
}

ArrivalScan ScanOf(int64_t elems, Encoding encoding,
                   const std::vector<std::byte>& bytes, int64_t max_piece) {
  Random random(5);
  ArrivalScan scan(
      std::make_shared<const BlockMap>(MakeBlockMap({elems}, {0}, 1)),
      encoding);
  const ByteChain chain = CutIntoSpans(bytes, max_piece, 1, random);
  for (const ByteChain::Span& span : chain.spans()) {
    scan.Update(span.data, span.size);
  }
  return scan;
}

TEST(Int8ArrivalScanTest, AScaleIsFiniteAndNotNegative) {
  constexpr int64_t kElems = 3000;
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t max_piece : {1, 3, 5000}) {
    const auto scan = [&](float second, int8_t value) {
      return ScanOf(kElems, Encoding::kInt8,
                    Scaled({1, second, 1}, kElems, value), max_piece);
    };
    EXPECT_EQ(scan(-0.5f, 3).flaw(),
              "elements 1024 to 2047 have scale -0.5, want at least 0");
    EXPECT_FALSE(scan(-infinity, 0).flaw().empty());
    for (const float spoilt : {infinity, nan, -nan}) {
      // Also where all values are 0.
      for (const int8_t value : {0, 1}) {
        EXPECT_EQ(scan(spoilt, value).first_non_finite(), 1024);
      }
    }
    // Finite, but not its product with a value.
    EXPECT_EQ(scan(0x1p127f, 2).first_non_finite(), 1024);
    for (const float good : {0.0f, -0.0f, 0x1p-149f, 0x1p120f}) {
      EXPECT_EQ(scan(good, -127).flaw(), "");
      EXPECT_TRUE(scan(good, -127).finite());
    }
  }
}

struct PairOf {
  uint32_t index;
  float value;
};

ArrivalScan ScanPairs(const std::vector<PairOf>& pairs, int64_t max_piece) {
  std::vector<std::byte> bytes(8 * pairs.size());
  std::memcpy(bytes.data(), pairs.data(), bytes.size());
  return ScanOf(kBlockElems + 100, Encoding::kTopK, bytes, max_piece);
}

TEST(TopKArrivalScanTest, IndicesAscendAndLieInTheModel) {
  const uint32_t end = kBlockElems + 100;
  for (const int64_t max_piece : {1, 3, 8, 100}) {
    EXPECT_EQ(ScanPairs({{0, 1}, {7, 1}, {end - 1, 1}}, max_piece).flaw(), "");
    EXPECT_EQ(ScanPairs({{5, 1}, {9, 1}, {7, 1}, {1, 1}}, max_piece).flaw(),
              "pair 2 has index 7 after 9, want ascending ones");
    EXPECT_EQ(ScanPairs({{5, 1}, {5, 1}}, max_piece).flaw(),
              "pair 1 has index 5 after 5, want ascending ones");
    EXPECT_EQ(ScanPairs({{5, 1}, {end, 1}}, max_piece).flaw(),
              "pair 1 has index 16484, want 0 to 16483");
    EXPECT_FALSE(ScanPairs({{0xffffffff, 1}}, max_piece).flaw().empty());
    // Nor does what comes after a flaw do any harm.
    EXPECT_FALSE(
        ScanPairs({{end, 1}, {end + 1, 1}, {3, 1}}, max_piece).flaw().empty());
  }
}

TEST(TopKArrivalScanTest, TheFirstNonFiniteElementIsNamedByItsIndex) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ScanPairs({{0, 1}, {16400, -infinity}, {16410, nan}}, 3)
                .first_non_finite(),
            16400);
  EXPECT_TRUE(ScanPairs({{0, 1}, {16400, -1}}, 3).finite());
}

TEST(ArrivalScanTest, DenormalsAndNegativeZerosCount) {
  const auto blocks =
      std::make_shared<const BlockMap>(MakeBlockMap({3}, {0}, 1));
  const float x[] = {-0.0f, -0x1p-149f, 0x1p-140f};
  ArrivalScan scan(blocks, Encoding::kF32);
  scan.Update(reinterpret_cast<const std::byte*>(x), sizeof(x));
  EXPECT_TRUE(scan.finite());
  EXPECT_EQ(scan.max_abs(), 0x1p-140);
  EXPECT_EQ(scan.group_square_sums()[0], 0x1p-298 + 0x1p-280);
}

#if defined(__x86_64__)
// It runs on whatever thread the bytes come in on.
TEST(ArrivalScanTest, AThreadThatFlushesDenormalsEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr unsigned kFlushAndZero = 0x8040;
  ArrivalScan scan(std::make_shared<const BlockMap>(MakeBlockMap({1}, {0}, 1)),
                   Encoding::kF32);
  EXPECT_DEATH(std::thread([&] {
                 _mm_setcsr(_mm_getcsr() | kFlushAndZero);
                 scan.Update(nullptr, 0);
               }).join(),
               "flushes denormals");
}
#endif

TEST(ArrivalScanTest, TheLargestFloatsSquaresDoNotOverflow) {
  const auto blocks =
      std::make_shared<const BlockMap>(MakeBlockMap({100}, {0}, 1));
  const std::vector<float> x(100, std::numeric_limits<float>::max());
  ArrivalScan scan(blocks, Encoding::kF32);
  scan.Update(reinterpret_cast<const std::byte*>(x.data()), 400);
  EXPECT_TRUE(scan.finite());
  EXPECT_EQ(scan.max_abs(), std::numeric_limits<float>::max());
  EXPECT_TRUE(std::isfinite(scan.group_square_sums()[0]));
}

TEST(ArrivalScanTest, BytesPastTheLastElementAreIgnored) {
  const auto blocks =
      std::make_shared<const BlockMap>(MakeBlockMap({1}, {0}, 1));
  const float x[] = {2.0f, std::numeric_limits<float>::quiet_NaN()};
  ArrivalScan scan(blocks, Encoding::kF32);
  scan.Update(reinterpret_cast<const std::byte*>(x), 3);
  scan.Update(reinterpret_cast<const std::byte*>(x) + 3, 5);
  EXPECT_TRUE(scan.finite());
  EXPECT_EQ(scan.max_abs(), 2.0);
  EXPECT_EQ(scan.group_square_sums()[0], 4.0);
}

}  // namespace
}  // namespace accrue::kernels
