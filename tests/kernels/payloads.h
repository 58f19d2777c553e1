// Payloads: gradients of random values, cut into spans as a network would.
#ifndef ACCRUE_TESTS_KERNELS_PAYLOADS_H_
#define ACCRUE_TESTS_KERNELS_PAYLOADS_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "server/base/byte_chain.h"
#include "server/kernels/encoding.h"

namespace accrue::kernels {

using Random = std::mt19937_64;

// A finite float: mostly of moderate size, sometimes 0, -0, a denormal, or
// far from 1 (within [2^-60, 2^30]).
float RandomFloat(Random& random);
std::vector<float> RandomFloats(int64_t count, Random& random);

// A payload of `count` finite elements of any of an encoding's values (floats:
// RandomFloat).
std::vector<std::byte> RandomBytes(int64_t count, Encoding encoding,
                                   Random& random);

// A chain of copies of `bytes`, in spans of 1 .. max_span bytes, each at an
// address of its own, `misalignment` bytes behind one that suits any type.
ByteChain CutIntoSpans(const std::vector<std::byte>& bytes, int64_t max_span,
                       int64_t misalignment, Random& random);

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_KERNELS_PAYLOADS_H_
