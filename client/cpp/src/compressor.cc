#include "client/cpp/src/compressor.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/cpp/src/encode.h"

namespace accrue::client::internal {

absl::Status Check(const Compression& compression, int64_t elems) {
  if (compression.encoding != Encoding::kTopK) return absl::OkStatus();
  // Written so that a NaN is refused.
  if (!(compression.top_fraction > 0 && compression.top_fraction <= 0.5)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compression: top_fraction is ", compression.top_fraction,
        ", want above 0 and at most 0.5, where pairs take as much as f32"));
  }
  if (elems > int64_t{1} << 32) {
    return absl::InvalidArgumentError(
        absl::StrCat("compression: the model has ", elems,
                     " elements, indices of 32 bits reach 2^32"));
  }
  return absl::OkStatus();
}

Compressor::Compressor(const Compression& compression, int64_t elems)
    : compression_(compression),
      left_(static_cast<size_t>(elems)),
      residual_(compression.error_feedback ? left_.size() : 0) {}

absl::StatusOr<Payload> Compressor::Encode(const Payload& gradient,
                                           double scale) {
  const auto want = static_cast<int64_t>(left_.size() * sizeof(float));
  if (gradient.encoding() != Encoding::kF32 || gradient.size_bytes() != want) {
    return absl::InvalidArgumentError(absl::StrCat(
        "compression: a gradient of ", gradient.size_bytes(), " bytes in ",
        Name(gradient.encoding()), ", want the model's ", want, " in f32"));
  }
  auto* at = reinterpret_cast<std::byte*>(left_.data());
  for (const Payload::Part part : gradient.parts()) {
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  {
    MutexLock lock(&mutex_);
    scale_ = static_cast<float>(scale);
    for (size_t i = 0; i < residual_.size(); ++i) {
      left_[i] += scale_ * residual_[i];
    }
  }
  EncodeLossy(compression_, absl::MakeSpan(left_), &bytes_);
  const Payload::Part whole(bytes_);
  return Payload::Encoded(compression_.encoding, absl::MakeSpan(&whole, 1));
}

void Compressor::Folded() {
  MutexLock lock(&mutex_);
  if (residual_.empty()) return;
  if (scale_ != 1) {
    for (float& value : left_) value /= scale_;
  }
  residual_.swap(left_);
}

std::vector<float> Compressor::residual() const {
  MutexLock lock(&mutex_);
  return residual_;
}

}  // namespace accrue::client::internal
