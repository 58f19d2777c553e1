#include "server/kernels/square_lanes.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/square_lanes.cc"
#include "hwy/foreach_target.h"  // includes this file once for each target
#include "hwy/highway.h"
#include "server/kernels/unaligned-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::kernels::HWY_NAMESPACE {
namespace {

constexpr int kLanes = SquareLanes::kCount;

int32_t AddOne(const float* x, float scale, double& lane) {
  float value;
  std::memcpy(&value, static_cast<const void*>(x), sizeof(value));
  int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const float scaled = scale * value;
  lane += static_cast<double>(scaled) * static_cast<double>(scaled);
  return bits & INT32_MAX;
}

// x[0 .. rows*kLanes), beginning in lane 0: element i of each row is lane i's.
template <bool kScaled>
int32_t AddRows(const float* x, int64_t rows, float scale, double* lanes) {
  const hn::ScalableTag<double> dd;
  const hn::Rebind<float, decltype(dd)> df;
  const hn::RebindToSigned<decltype(df)> di;
  constexpr int kWidth = static_cast<int>(hn::MaxLanes(dd));
  constexpr int kVectors = kLanes / kWidth;

  const auto scale_lanes = hn::Set(df, scale);
  const auto magnitude = hn::Set(di, INT32_MAX);
  auto max_bits = hn::Zero(di);
  hn::Vec<decltype(dd)> sums[kVectors];
  HWY_UNROLL(16)
  for (int i = 0; i < kVectors; ++i) {
    sums[i] = hn::LoadU(dd, lanes + i * kWidth);
  }
  for (const float* const end = x + rows * kLanes; x != end; x += kLanes) {
    HWY_UNROLL(16)
    for (int i = 0; i < kVectors; ++i) {
      const auto value = LoadAny(df, x + i * kWidth);
      max_bits = hn::Max(max_bits, hn::And(hn::BitCast(di, value), magnitude));
      const auto scaled =
          hn::PromoteTo(dd, kScaled ? hn::Mul(scale_lanes, value) : value);
      // The square of a float is exact in double: with or without a rounding
      // between the product and the sum, the bits are the same.
      sums[i] = hn::MulAdd(scaled, scaled, sums[i]);
    }
  }
  HWY_UNROLL(16)
  for (int i = 0; i < kVectors; ++i) {
    hn::StoreU(sums[i], dd, lanes + i * kWidth);
  }
  return hn::GetLane(hn::MaxOfLanes(di, max_bits));
}

int32_t AddSquares(const float* x, int64_t size, int64_t first, float scale,
                   double* lanes) {
  int32_t max_bits = 0;
  int64_t i = 0;
  for (; i < size && (first + i) % kLanes != 0; ++i) {
    max_bits =
        std::max(max_bits, AddOne(x + i, scale, lanes[(first + i) % kLanes]));
  }
  const int64_t rows = (size - i) / kLanes;
  if (rows > 0) {
    max_bits = std::max(
        max_bits, scale == 1.0f ? AddRows<false>(x + i, rows, scale, lanes)
                                : AddRows<true>(x + i, rows, scale, lanes));
    i += rows * kLanes;
  }
  for (; i < size; ++i) {
    max_bits =
        std::max(max_bits, AddOne(x + i, scale, lanes[(first + i) % kLanes]));
  }
  return max_bits;
}

}  // namespace
}  // namespace accrue::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accrue::kernels {

HWY_EXPORT(AddSquares);

int32_t SquareLanes::Add(const float* x, int64_t size, int64_t first,
                         float scale) {
  return HWY_DYNAMIC_DISPATCH(AddSquares)(x, size, first, scale, lane);
}

}  // namespace accrue::kernels
#endif  // HWY_ONCE
