// Encoding: how one element of a gradient or parameter lies on the wire.
//
// Numerics. kBf16 and kF16 widen to float exactly; narrowing rounds to
//           nearest, ties to even, in integers, bit_exact_cpu_gpu.
#ifndef ACCRUE_SERVER_KERNELS_ENCODING_H_
#define ACCRUE_SERVER_KERNELS_ENCODING_H_

#include <cstdint>

namespace accrue::kernels {

enum class Encoding { kF32, kBf16, kF16 };

constexpr int64_t EncodedBytes(Encoding encoding) {
  return encoding == Encoding::kF32 ? 4 : 2;
}

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_ENCODING_H_
