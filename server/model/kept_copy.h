// KeptCopy: a payload copied, as it arrives, into memory of its own.
//
// What a transport reads with may be far larger than what of this payload came
// in it, and shared with other streams: whoever keeps a payload for long would
// keep all of that.
//
// Memory.    pieces of kPieceBytes, the last one of what is left; each is
//            allocated when its first byte comes, and a span of the result.
// Threading. compatible.
#ifndef ACCRUE_SERVER_MODEL_KEPT_COPY_H_
#define ACCRUE_SERVER_MODEL_KEPT_COPY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "server/base/byte_chain.h"

namespace accrue {

class KeptCopy {
 public:
  static constexpr int64_t kPieceBytes = 1 << 20;

  explicit KeptCopy(int64_t payload_bytes) : payload_bytes_(payload_bytes) {}

  // The next bytes; in all at most payload_bytes.
  void Append(const std::byte* data, int64_t size);
  int64_t size_bytes() const { return whole_.size_bytes() + filled_; }
  // Once all bytes are in.
  ByteChain Take() { return std::move(whole_); }

 private:
  const int64_t payload_bytes_;
  ByteChain whole_;  // pieces that are full
  std::unique_ptr<std::byte[]> piece_;
  int64_t piece_bytes_ = 0;
  int64_t filled_ = 0;  // of piece_
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_KEPT_COPY_H_
