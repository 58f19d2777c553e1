#include "client/cpp/src/encode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace accrue::client::internal {
namespace {

#define ACCRUE_ELEMENT inline
#include "server/base/bits-inl.h"
#include "server/base/conversion-inl.h"
#undef ACCRUE_ELEMENT

constexpr size_t kScaledElems = 1024;  // of a block of Encoding::kInt8
constexpr uint32_t kInfinity = 0x7f800000;

// Order of magnitude: a float's bits without its sign; a NaN's are the largest.
uint32_t Magnitude(float x) { return std::bit_cast<uint32_t>(x) & 0x7fffffff; }

template <typename Narrow, typename Widen>
void EncodeHalves(absl::Span<float> x, std::vector<std::byte>* bytes,
                  Narrow narrow, Widen widen) {
  bytes->resize(2 * x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const uint32_t half = narrow(std::bit_cast<uint32_t>(x[i]));
    const auto word = static_cast<uint16_t>(half);
    std::memcpy(bytes->data() + 2 * i, &word, sizeof(word));
    x[i] -= std::bit_cast<float>(widen(half));
  }
}

// The scale at which the largest of the elements is 127; NaN if there is one
// that is not finite. 0 where it would be a denormal, whose few bits make
// another number than 127 of the largest.
float ScaleOf(absl::Span<const float> x) {
  uint32_t largest = 0;
  for (const float value : x) largest = std::max(largest, Magnitude(value));
  if (largest >= kInfinity) return std::numeric_limits<float>::quiet_NaN();
  const float scale = std::bit_cast<float>(largest) / 127.0f;
  return scale < std::numeric_limits<float>::min() ? 0.0f : scale;
}

// Of |x| <= 2^22: to the nearest integer, ties to even.
float Round(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

void EncodeInt8(absl::Span<float> x, std::vector<std::byte>* bytes) {
  const size_t blocks = (x.size() + kScaledElems - 1) / kScaledElems;
  bytes->resize(x.size() + blocks * sizeof(float));
  std::byte* out = bytes->data();
  for (size_t begin = 0; begin < x.size(); begin += kScaledElems) {
    const absl::Span<float> block = x.subspan(begin, kScaledElems);
    const float scale = ScaleOf(block);
    std::memcpy(out, &scale, sizeof(scale));
    out += sizeof(scale);
    for (float& value : block) {
      // At scale 0 what little there is stays behind, at NaN nothing counts.
      const auto sent =
          static_cast<int8_t>(scale > 0 ? Round(value / scale) : 0.0f);
      std::memcpy(out++, &sent, sizeof(sent));
      value -= scale * static_cast<float>(sent);
    }
  }
}

// The magnitude of the `count`-th largest element, and how many of its equals
// belong to the `count`.
struct Threshold {
  uint32_t magnitude = 0;
  size_t equals = 0;
};

// In two steps of 16 bits, by counting: the order of equal elements plays no
// part in it.
Threshold FindThreshold(absl::Span<const float> x, size_t count) {
  std::vector<size_t> counts(1 << 16);
  const auto descend = [&counts](size_t& left) {
    uint32_t part = (1 << 16) - 1;
    while (counts[part] < left) left -= counts[part--];
    return part;
  };
  for (const float value : x) ++counts[Magnitude(value) >> 16];
  size_t left = count;
  const uint32_t high = descend(left);
  std::fill(counts.begin(), counts.end(), 0);
  for (const float value : x) {
    const uint32_t magnitude = Magnitude(value);
    if (magnitude >> 16 == high) ++counts[magnitude & 0xffff];
  }
  const uint32_t low = descend(left);
  return {high << 16 | low, left};
}

// Where the next pair goes.
std::byte* PutPair(size_t index, float value, std::byte* out) {
  const auto word = static_cast<uint32_t>(index);
  std::memcpy(out, &word, sizeof(word));
  std::memcpy(out + sizeof(word), &value, sizeof(value));
  return out + sizeof(word) + sizeof(value);
}

void EncodeTopK(double fraction, absl::Span<float> x,
                std::vector<std::byte>* bytes) {
  bytes->clear();
  if (x.empty()) return;
  const auto most = static_cast<double>(std::max<size_t>(x.size() / 2, 1));
  const auto count = static_cast<size_t>(std::clamp(
      std::round(fraction * static_cast<double>(x.size())), 1.0, most));
  bytes->resize(8 * count);
  std::byte* out = bytes->data();
  Threshold threshold = FindThreshold(x, count);
  for (size_t i = 0; i < x.size(); ++i) {
    const uint32_t magnitude = Magnitude(x[i]);
    if (magnitude < threshold.magnitude || magnitude == 0) continue;
    if (magnitude == threshold.magnitude) {
      if (threshold.equals == 0) continue;
      --threshold.equals;
    }
    out = PutPair(i, x[i], out);
    x[i] = 0;
  }
  // A payload has a pair at least.
  if (out == bytes->data()) out = PutPair(0, x[0], out);
  bytes->resize(static_cast<size_t>(out - bytes->data()));
}

}  // namespace

void EncodeLossy(const Compression& compression, absl::Span<float> x,
                 std::vector<std::byte>* bytes) {
  switch (compression.encoding) {
    case Encoding::kF32:
      break;
    case Encoding::kBf16:
      return EncodeHalves(
          x, bytes, [](uint32_t bits) { return NarrowToBf16(bits); },
          [](uint32_t half) { return WidenFromBf16(half); });
    case Encoding::kF16:
      return EncodeHalves(
          x, bytes, [](uint32_t bits) { return NarrowToF16(bits); },
          [](uint32_t half) { return WidenFromF16(half); });
    case Encoding::kInt8:
      return EncodeInt8(x, bytes);
    case Encoding::kTopK:
      return EncodeTopK(compression.top_fraction, x, bytes);
  }
}

}  // namespace accrue::client::internal
