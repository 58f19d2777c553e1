#include "server/kernels/payload_slice.h"

#include <algorithm>
#include <cstring>

namespace accrue::kernels {
namespace {

constexpr int64_t kWireBlockBytes = kScaleBytes + kScaledElems;

PayloadSlice FindPairs(const ByteChain& payload, int64_t begin, int64_t end) {
  ChainReader reader(payload);
  const int64_t pairs = payload.size_bytes() / kPairBytes;
  const int64_t first = FindPair(reader, pairs, begin);
  const int64_t last = FindPair(reader, pairs, end);
  return {first * kPairBytes, (last - first) * kPairBytes};
}

}  // namespace

PayloadSlice FindSlice(const PushPayload& push, int64_t elems, int64_t begin,
                       int64_t count) {
  if (count == 0) return {};
  const int64_t end = begin + count;
  switch (push.encoding) {
    case Encoding::kInt8: {
      const int64_t first = begin / kScaledElems;
      const int64_t last = (end - 1) / kScaledElems;
      const int64_t last_elems =
          std::min(kScaledElems, elems - last * kScaledElems);
      return {first * kWireBlockBytes,
              (last - first) * kWireBlockBytes + kScaleBytes + last_elems};
    }
    case Encoding::kTopK:
      return FindPairs(*push.payload, begin, end);
    default: {
      const int64_t element_bytes = EncodedBytes(push.encoding);
      return {begin * element_bytes, count * element_bytes};
    }
  }
}

int64_t MaxSliceBytes(Encoding encoding, int64_t count) {
  switch (encoding) {
    case Encoding::kInt8:  // one block more where it begins amid one
      return (count / kScaledElems + 2) * kWireBlockBytes;
    case Encoding::kTopK:
      return count * kPairBytes;
    default:
      return count * EncodedBytes(encoding);
  }
}

void CopySlice(const ByteChain& payload, const PayloadSlice& slice,
               std::byte* out) {
  ChainReader reader(payload);
  for (int64_t done = 0; done < slice.size_bytes;) {
    const int64_t at = slice.offset_bytes + done;
    const int64_t run = std::min(reader.RunBytes(at), slice.size_bytes - done);
    std::memcpy(out + done, reader.Contiguous(at, run, nullptr),
                static_cast<size_t>(run));
    done += run;
  }
}

int64_t FindPair(ChainReader& payload, int64_t pair_count, int64_t index) {
  int64_t begin = 0, end = pair_count;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    std::byte cut[kPairBytes];
    uint32_t found;
    std::memcpy(&found,
                payload.Contiguous(middle * kPairBytes, kPairBytes, cut),
                sizeof(found));
    if (found < index) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

}  // namespace accrue::kernels
