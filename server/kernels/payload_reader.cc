#include "server/kernels/payload_reader.h"

#include <algorithm>
#include <cstring>

#include "server/kernels/convert.h"
#include "server/kernels/payload_slice.h"

namespace accrue::kernels {

int64_t PayloadReader::RunElems(int64_t offset) {
  const int64_t element_bytes = EncodedBytes(Encoding::kF32);
  return chain_.RunBytes(offset * element_bytes) / element_bytes;
}

const float* PayloadReader::Read(int64_t offset, int64_t size, float* scratch,
                                 std::byte* encoded) {
  if (encoding_ == Encoding::kInt8) {
    ReadScaled(offset, size, scratch, encoded);
    return scratch;
  }
  if (encoding_ == Encoding::kTopK) {
    ReadPairs(offset, size, scratch);
    return scratch;
  }
  const int64_t element_bytes = EncodedBytes(encoding_);
  if (encoding_ == Encoding::kF32) {
    return reinterpret_cast<const float*>(
        chain_.Contiguous(offset * element_bytes, size * element_bytes,
                          reinterpret_cast<std::byte*>(scratch)));
  }
  Decode(
      chain_.Contiguous(offset * element_bytes, size * element_bytes, encoded),
      size, encoding_, scratch);
  return scratch;
}

void PayloadReader::ReadScaled(int64_t offset, int64_t size, float* out,
                               std::byte* encoded) {
  while (size > 0) {
    const int64_t block = offset / kScaledElems;
    const int64_t first = offset % kScaledElems;
    const int64_t count = std::min(size, kScaledElems - first);
    const int64_t at = block * (kScaleBytes + kScaledElems);
    std::byte cut[kScaleBytes];
    float scale;
    std::memcpy(&scale, chain_.Contiguous(at, kScaleBytes, cut), sizeof(scale));
    DecodeScaled(chain_.Contiguous(at + kScaleBytes + first, count, encoded),
                 count, scale, out);
    offset += count;
    size -= count;
    out += count;
  }
}

void PayloadReader::ReadPairs(int64_t offset, int64_t size, float* out) {
  std::fill_n(out, size, 0.0f);
  if (offset != next_) pair_ = FindPair(chain_, pairs_, offset);
  next_ = offset + size;
  while (pair_ < pairs_) {
    // Those that lie whole in this span; one that does not is copied.
    const int64_t run =
        std::max<int64_t>(1, chain_.RunBytes(pair_ * kPairBytes) / kPairBytes);
    std::byte cut[kPairBytes];
    const std::byte* pair =
        chain_.Contiguous(pair_ * kPairBytes, run * kPairBytes, cut);
    for (int64_t i = 0; i < run; ++i, ++pair_, pair += kPairBytes) {
      uint32_t index;
      std::memcpy(&index, pair, sizeof(index));
      const int64_t place = index - offset;
      if (place < 0 || place >= size) return;
      std::memcpy(out + place, pair + sizeof(index), sizeof(float));
    }
  }
}

}  // namespace accrue::kernels
