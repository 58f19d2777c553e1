// Encode: floats in one of the wire's lossy encodings, and what is lost by it.
//
// Numerics.  deterministic: round to nearest, ties to even, on every host; the
//            16-bit conversions are the daemon's own.
// Threading. safe: no state

#ifndef ACCRUE_CLIENT_CPP_SRC_ENCODE_H_
#define ACCRUE_CLIENT_CPP_SRC_ENCODE_H_

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "accrue/compression.h"

namespace accrue::client::internal {

// `*bytes` becomes x in compression.encoding (not kF32), and x what that leaves
// out: x minus what the daemon will decode. An x that is not finite everywhere
// becomes bytes that are not, and x is of no use any more.
void EncodeLossy(const Compression& compression, absl::Span<float> x,
                 std::vector<std::byte>* bytes);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_ENCODE_H_
