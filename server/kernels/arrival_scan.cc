#include "server/kernels/arrival_scan.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
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
  while (size > 0) {
    const int64_t unit = UnitBytes();
    int64_t taken;
    if (cut_bytes_ == 0 && size >= unit) {
      taken = Take(data, size);
      if (taken == 0) return;
    } else {
      taken = std::min(size, unit - cut_bytes_);
      std::memcpy(cut_.data() + cut_bytes_, data, static_cast<size_t>(taken));
      cut_bytes_ += taken;
      if (cut_bytes_ == unit) {
        cut_bytes_ = 0;
        Take(cut_.data(), unit);
      }
    }
    data += taken;
    size -= taken;
  }
}

int64_t ArrivalScan::UnitBytes() const {
  switch (encoding_) {
    case Encoding::kInt8:
      return position_ == scaled_to_ ? kScaleBytes : 1;
    case Encoding::kTopK:
      return kPairBytes;
    default:
      return EncodedBytes(encoding_);
  }
}

int64_t ArrivalScan::Take(const std::byte* data, int64_t size) {
  switch (encoding_) {
    case Encoding::kInt8:
      return TakeScaled(data, size);
    case Encoding::kTopK:
      return TakePairs(data, size);
    default:
      return TakePlain(data, size);
  }
}

int64_t ArrivalScan::TakePlain(const std::byte* data, int64_t size) {
  const int64_t element_bytes = EncodedBytes(encoding_);
  const int64_t count =
      std::min(size / element_bytes, blocks_->elems - position_);
  if (encoding_ == Encoding::kF32) {
    Scan(reinterpret_cast<const float*>(data), count);
    return count * element_bytes;
  }
  float decoded[kDecodedElems];
  for (int64_t i = 0; i < count; i += kDecodedElems) {
    const int64_t n = std::min(count - i, kDecodedElems);
    Decode(data + i * element_bytes, n, encoding_, decoded);
    Scan(decoded, n);
  }
  return count * element_bytes;
}

int64_t ArrivalScan::TakeScaled(const std::byte* data, int64_t size) {
  if (position_ == blocks_->elems) return 0;
  if (position_ == scaled_to_) {
    std::memcpy(&scale_, data, sizeof(scale_));
    scaled_to_ = std::min(position_ + kScaledElems, blocks_->elems);
    // One that is not finite makes elements that are not.
    if (scale_ < 0 && flaw_.empty()) {
      flaw_ = absl::StrCat("elements ", position_, " to ", scaled_to_ - 1,
                           " have scale ", scale_, ", want at least 0");
    }
    return kScaleBytes;
  }
  const int64_t count = std::min(size, scaled_to_ - position_);
  float decoded[kScaledElems];
  DecodeScaled(data, count, scale_, decoded);
  Scan(decoded, count);
  return count;
}

int64_t ArrivalScan::TakePairs(const std::byte* data, int64_t size) {
  const int64_t count = size / kPairBytes;
  for (int64_t i = 0; i < count && flaw_.empty(); ++i, ++pairs_) {
    uint32_t index;
    float x;
    std::memcpy(&index, data + i * kPairBytes, sizeof(index));
    std::memcpy(&x, data + i * kPairBytes + sizeof(index), sizeof(x));
    if (index >= blocks_->elems) {
      flaw_ = absl::StrCat("pair ", pairs_, " has index ", index,
                           ", want 0 to ", blocks_->elems - 1);
    } else if (index <= last_index_) {
      flaw_ = absl::StrCat("pair ", pairs_, " has index ", index, " after ",
                           last_index_, ", want ascending ones");
    } else {
      AddNamed(index, x);
    }
  }
  return count * kPairBytes;
}

// What Scan would do with zeros between the elements: they change no sum.
void ArrivalScan::AddNamed(int64_t index, float x) {
  while (index >= blocks_->blocks[static_cast<size_t>(block_)].offset +
                      blocks_->blocks[static_cast<size_t>(block_)].size) {
    EndBlock();
  }
  int32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits &= 0x7fffffff;
  if (bits >= kNonFiniteBits && first_non_finite_ < 0) {
    first_non_finite_ = index;
  }
  max_bits_ = std::max(max_bits_, bits);
  const int64_t first = blocks_->blocks[static_cast<size_t>(block_)].offset;
  lanes_.lane[(index - first) % SquareLanes::kCount] +=
      static_cast<double>(x) * static_cast<double>(x);
  last_index_ = index;
}

void ArrivalScan::EndBlock() {
  const Block& block = blocks_->blocks[static_cast<size_t>(block_)];
  group_sums_[static_cast<size_t>(block.group)] += lanes_.Total();
  lanes_ = {};
  ++block_;
}

std::vector<double> ArrivalScan::group_square_sums() const {
  std::vector<double> sums = group_sums_;
  // Pairs do not say that a block has ended.
  if (encoding_ == Encoding::kTopK && last_index_ >= 0) {
    const Block& block = blocks_->blocks[static_cast<size_t>(block_)];
    sums[static_cast<size_t>(block.group)] += lanes_.Total();
  }
  return sums;
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
    if (first + n == block.size) EndBlock();
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
