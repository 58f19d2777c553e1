// Encoding: how a flat vector of gradients or parameters lies on the wire,
// little-endian.
//
//   kF32, kBf16, kF16   plain: an element after another, each of one size
//   kInt8               in wire blocks of kScaledElems elements, the last one
//                       perhaps shorter: a float, the scale (finite, at least
//                       0), then an int8 for each; an element is
//                       scale * value, one float product
//   kTopK               pairs of an uint32, an element's index, and a float,
//                       its value; indices ascend strictly; elements that no
//                       pair names are 0. At least one, and no more bytes than
//                       kF32 takes (of one element, which a pair exceeds, one)
//
// Numerics. kBf16 and kF16 widen to float exactly; narrowing rounds to
//           nearest, ties to even, in integers, bit_exact_cpu_gpu.
#ifndef ACCRUE_SERVER_KERNELS_ENCODING_H_
#define ACCRUE_SERVER_KERNELS_ENCODING_H_

#include <algorithm>
#include <cstdint>

namespace accrue::kernels {

enum class Encoding { kF32, kBf16, kF16, kInt8, kTopK };

// Those that parameters are sent in too; the others are for pushes only.
constexpr bool IsPlain(Encoding encoding) {
  return encoding == Encoding::kF32 || encoding == Encoding::kBf16 ||
         encoding == Encoding::kF16;
}

// Of an element in a plain encoding.
constexpr int64_t EncodedBytes(Encoding encoding) {
  return encoding == Encoding::kF32 ? 4 : 2;
}

inline constexpr int64_t kScaledElems = 1024;
inline constexpr int64_t kScaleBytes = 4;
inline constexpr int64_t kPairBytes = 8;
// Those that a pair's index can name.
inline constexpr int64_t kMaxTopKElems = int64_t{1} << 32;

// The sizes that a payload may have: from `least` to `most` bytes, both of them
// multiples of `step`.
struct PayloadBytes {
  int64_t least = 0;
  int64_t most = 0;
  int64_t step = 1;

  constexpr bool Allow(int64_t bytes) const {
    return bytes >= least && bytes <= most && bytes % step == 0;
  }
};

// Of a vector of `elems` elements.
constexpr PayloadBytes PayloadBytesOf(Encoding encoding, int64_t elems) {
  if (encoding == Encoding::kTopK) {
    // What memory was set aside for a push is what kF32 takes.
    const int64_t least = std::min(elems, int64_t{1});
    const int64_t most =
        std::max(elems * EncodedBytes(Encoding::kF32) / kPairBytes, least);
    return {least * kPairBytes, most * kPairBytes, kPairBytes};
  }
  int64_t bytes = elems;
  if (encoding == Encoding::kInt8) {
    bytes += (elems + kScaledElems - 1) / kScaledElems * kScaleBytes;
  } else {
    bytes *= EncodedBytes(encoding);
  }
  return {bytes, bytes, 1};
}

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_ENCODING_H_
