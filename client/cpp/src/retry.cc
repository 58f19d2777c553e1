#include "client/cpp/src/retry.h"

#include <algorithm>
#include <optional>

#include "absl/time/clock.h"
#include "accrue/error.h"

namespace accrue::client::internal {

Retry::Retry(const ClientOptions& options, absl::Time deadline)
    : initial_backoff_(options.initial_backoff),
      max_backoff_(options.max_backoff),
      deadline_(deadline),
      backoff_(initial_backoff_),
      // A thousand workers that lost one daemon shall not come back in step.
      random_(std::random_device()()) {}

absl::Duration Retry::Next(const absl::Status& error) {
  const absl::Duration wait =
      backoff_ * std::uniform_real_distribution<double>(0.8, 1.2)(random_);
  backoff_ = std::min(2 * backoff_, max_backoff_);
  const std::optional<ErrorDetail> detail = GetErrorDetail(error);
  return detail.has_value() ? std::max(wait, detail->retry_after) : wait;
}

bool Retry::Wait(const absl::Status& error) {
  const absl::Duration wait = Next(error);
  if (absl::Now() + wait >= deadline_) return false;
  absl::SleepFor(wait);
  return true;
}

}  // namespace accrue::client::internal
