#include "server/kernels/arrival_scan.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/base/float_env.h"
#include "server/kernels/convert.h"

namespace accrue::kernels {
namespace {

// Elements of a 16-bit encoding that are widened at a time.
constexpr int64_t kDecodedElems = 1024;

}  // namespace

ArrivalScan::ArrivalScan(std::shared_ptr<const BlockMap> blocks,
                         Encoding encoding)
    : blocks_(std::move(blocks)),
      encoding_(encoding),
      group_sums_(blocks_->group_elems.size()) {}

void ArrivalScan::Update(const std::byte* data, int64_t size) {
  AssertDenormalsKeptHere();
  const int64_t element_bytes = EncodedBytes(encoding_);
  if (cut_bytes_ > 0) {
    const int64_t missing = std::min(size, element_bytes - cut_bytes_);
    std::memcpy(cut_.data() + cut_bytes_, data, static_cast<size_t>(missing));
    cut_bytes_ += missing;
    data += missing;
    size -= missing;
    if (cut_bytes_ < element_bytes) return;
    cut_bytes_ = 0;
    ScanEncoded(cut_.data(), 1);
  }
  const int64_t whole =
      std::min(size / element_bytes, blocks_->elems - position_);
  ScanEncoded(data, whole);
  data += whole * element_bytes;
  size -= whole * element_bytes;
  if (size > 0 && position_ < blocks_->elems) {
    std::memcpy(cut_.data(), data, static_cast<size_t>(size));
    cut_bytes_ = size;
  }
}

void ArrivalScan::ScanEncoded(const std::byte* data, int64_t count) {
  if (encoding_ == Encoding::kF32) {
    Scan(reinterpret_cast<const float*>(data), count);
    return;
  }
  float decoded[kDecodedElems];
  for (int64_t i = 0; i < count; i += kDecodedElems) {
    const int64_t n = std::min(count - i, kDecodedElems);
    Decode(data + i * EncodedBytes(encoding_), n, encoding_, decoded);
    Scan(decoded, n);
  }
}

void ArrivalScan::Scan(const float* x, int64_t count) {
  while (count > 0) {
    const Block& block = blocks_->blocks[static_cast<size_t>(block_)];
    const int64_t first = position_ - block.offset;
    const int64_t n = std::min(count, block.size - first);
    const int32_t bits = lanes_.Add(x, n, first, 1.0f);
    if (bits >= kNonFiniteBits && first_non_finite_ < 0) {
      first_non_finite_ = position_ + FindNonFinite(x, n);
    }
    max_bits_ = std::max(max_bits_, bits);
    position_ += n;
    x += n;
    count -= n;
    if (first + n == block.size) {
      group_sums_[static_cast<size_t>(block.group)] += lanes_.Total();
      lanes_ = {};
      ++block_;
    }
  }
}

int64_t ArrivalScan::FindNonFinite(const float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    SquareLanes ignored;
    if (ignored.Add(x + i, 1, 0, 1.0f) >= kNonFiniteBits) return i;
  }
  return count;
}

double ArrivalScan::max_abs() const {
  float value;
  std::memcpy(&value, &max_bits_, sizeof(value));
  return value;
}

}  // namespace accrue::kernels
