// PayloadSlice: the bytes of a payload that hold a range of its elements, found
// and copied without being decoded.
//
// Threading. safe: no state. Never blocks.
#ifndef ACCRUE_SERVER_KERNELS_PAYLOAD_SLICE_H_
#define ACCRUE_SERVER_KERNELS_PAYLOAD_SLICE_H_

#include <cstddef>
#include <cstdint>

#include "server/base/byte_chain.h"
#include "server/kernels/encoding.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

struct PayloadSlice {
  int64_t offset_bytes = 0;  // in the payload
  int64_t size_bytes = 0;
};

// Of elements [begin, begin + count). kInt8: whole wire blocks; kTopK: the
// pairs in that range, perhaps none; else those elements.
PayloadSlice FindSlice(const PushPayload& push, int64_t elems, int64_t begin,
                       int64_t count);

// The most bytes that a slice of `count` elements may have.
int64_t MaxSliceBytes(Encoding encoding, int64_t count);

void CopySlice(const ByteChain& payload, const PayloadSlice& slice,
               std::byte* out);

// The first of a top-k payload's pairs whose index is at least `index`, or how
// many pairs there are.
int64_t FindPair(ChainReader& payload, int64_t pair_count, int64_t index);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_PAYLOAD_SLICE_H_
