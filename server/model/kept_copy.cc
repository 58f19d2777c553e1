#include "server/model/kept_copy.h"

#include <algorithm>
#include <cstring>

namespace accrue {
namespace {

void Delete(void* piece) { delete[] static_cast<std::byte*>(piece); }

}  // namespace

void KeptCopy::Append(const std::byte* data, int64_t size) {
  while (size > 0) {
    if (piece_ == nullptr) {
      piece_bytes_ =
          std::min(kPieceBytes, payload_bytes_ - whole_.size_bytes());
      // Not zeroed: all of it is written before anybody reads.
      piece_.reset(new std::byte[static_cast<size_t>(piece_bytes_)]);
    }
    const int64_t count = std::min(size, piece_bytes_ - filled_);
    std::memcpy(piece_.get() + filled_, data, static_cast<size_t>(count));
    data += count;
    size -= count;
    filled_ += count;
    if (filled_ < piece_bytes_) return;
    std::byte* const full = piece_.release();
    whole_.Append(full, piece_bytes_, {Delete, full});
    filled_ = 0;
  }
}

}  // namespace accrue
