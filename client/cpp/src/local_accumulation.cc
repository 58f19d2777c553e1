#include "accrue/local_accumulation.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace accrue::client {

LocalAccumulation::LocalAccumulation(int64_t parameter_count)
    : sum_(static_cast<size_t>(parameter_count)) {}

absl::Status LocalAccumulation::Add(const Payload& gradient,
                                    std::optional<double> loss) {
  const auto want = static_cast<int64_t>(sum_.size() * sizeof(float));
  if (gradient.encoding() != Encoding::kF32 || gradient.size_bytes() != want) {
    return absl::InvalidArgumentError(absl::StrCat(
        "local accumulation: a gradient of ", gradient.size_bytes(),
        " bytes in ", Name(gradient.encoding()), ", want the model's ", want,
        " in f32"));
  }
  // Parts may be cut inside of elements.
  float* sum = sum_.data();
  std::byte cut[sizeof(float)];
  size_t cut_bytes = 0;
  for (const Payload::Part part : gradient.parts()) {
    const size_t head =
        cut_bytes == 0 ? 0 : std::min(sizeof(cut) - cut_bytes, part.size());
    if (head > 0) {
      std::memcpy(cut + cut_bytes, part.data(), head);
      cut_bytes += head;
      if (cut_bytes < sizeof(cut)) continue;
      sum = AddFloats(cut, 1, sum);
    }
    const size_t whole = (part.size() - head) / sizeof(float);
    sum = AddFloats(part.data() + head, whole, sum);
    const size_t taken = head + whole * sizeof(float);
    cut_bytes = part.size() - taken;
    std::memcpy(cut, part.data() + taken, cut_bytes);
  }
  ++count_;
  if (loss.has_value()) {
    loss_sum_ += *loss;
    ++loss_count_;
  }
  return absl::OkStatus();
}

float* LocalAccumulation::AddFloats(const std::byte* floats, size_t count,
                                    float* sum) const {
  for (size_t i = 0; i < count; ++i, ++sum) {
    float value;
    std::memcpy(&value, floats + i * sizeof(value), sizeof(value));
    *sum = count_ == 0 ? value : *sum + value;
  }
  return sum;
}

absl::StatusOr<PushResult> LocalAccumulation::PushTo(Worker& worker,
                                                     PushOptions options) {
  if (count_ == 0) {
    return absl::FailedPreconditionError(
        "local accumulation: no gradient was added");
  }
  options.micro_steps *= count_;
  options.scale *= static_cast<double>(count_);
  if (!options.loss.has_value() && loss_count_ > 0) {
    options.loss = loss_sum_ / static_cast<double>(loss_count_);
  }
  absl::StatusOr<PushResult> result = worker.Push(sum_, options);
  // A sum that may have been folded must not be pushed again.
  if (result.ok() || absl::IsUnknown(result.status())) Clear();
  return result;
}

void LocalAccumulation::Clear() {
  count_ = 0;
  loss_sum_ = 0;
  loss_count_ = 0;
}

}  // namespace accrue::client
