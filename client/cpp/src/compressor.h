// Compressor: a worker's Compression, and the residual of its pushes.
//
//   payload = compressor.Encode(gradient, scale);   // of one push
//   ...                                             // sent, perhaps again
//   compressor.Folded();                            // if it was
//
// A push that was not folded needs no call: the next Encode begins from the
// residual as it was.
//
// Threading. compatible, but residual() may come from any thread

#ifndef ACCRUE_CLIENT_CPP_SRC_COMPRESSOR_H_
#define ACCRUE_CLIENT_CPP_SRC_COMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "accrue/compression.h"
#include "accrue/payload.h"
#include "server/base/mutex.h"

namespace accrue::client::internal {

// INVALID_ARGUMENT: for a model of `elems` elements it cannot be.
absl::Status Check(const Compression& compression, int64_t elems);

class Compressor {
 public:
  // As Check allows, and not kF32.
  Compressor(const Compression& compression, int64_t elems);

  // The payload of `gradient`, which is `scale` times what it stands for, and
  // of what earlier ones have left out; valid until the next call.
  // INVALID_ARGUMENT: it is not the model's, in floats.
  absl::StatusOr<Payload> Encode(const Payload& gradient, double scale)
      ACCRUE_EXCLUDES(mutex_);

  // What was encoded last is folded. Once for each Encode at most.
  void Folded() ACCRUE_EXCLUDES(mutex_);

  // Empty without error feedback.
  std::vector<float> residual() const ACCRUE_EXCLUDES(mutex_);

 private:
  const Compression compression_;
  std::vector<float> left_;  // gradient + residual, then what Encode left of it
  std::vector<std::byte> bytes_;
  float scale_ = 1;  // of left_
  mutable Mutex mutex_;
  std::vector<float> residual_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_COMPRESSOR_H_
