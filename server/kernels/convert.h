// Convert: floats to and from the wire's encodings.
//
// Numerics. round to nearest, ties to even, denormals kept, overflow to
//           infinity (kF16: |x| >= 65520), in integers: bit_exact_cpu_gpu.
// Memory.   in and out do not overlap; any alignment.
#ifndef ACCRUE_SERVER_KERNELS_CONVERT_H_
#define ACCRUE_SERVER_KERNELS_CONVERT_H_

#include <cstddef>
#include <cstdint>

#include "server/kernels/encoding.h"

namespace accrue::kernels {

// In a plain encoding.
// in: [count] floats; out: count * EncodedBytes(encoding) bytes.
void Encode(const float* in, int64_t count, Encoding encoding, std::byte* out);

// in: count * EncodedBytes(encoding) bytes; out: [count] floats.
void Decode(const std::byte* in, int64_t count, Encoding encoding, float* out);

// out[i] = scale * in[i], of at most a wire block of Encoding::kInt8.
// in: [count] int8; out: [count] floats.
void DecodeScaled(const std::byte* in, int64_t count, float scale, float* out);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_CONVERT_H_
