#include "server/model/state_budget.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace accrue {

absl::StatusOr<StateBudget::Reservation> StateBudget::Reserve(
    const std::string& model, absl::string_view what, int64_t bytes) {
  {
    MutexLock lock(&mu_);
    const int64_t left = std::max<int64_t>(budget_bytes_ - TakenBytes(), 0);
    if (bytes > left) {
      ErrorInfo info;
      info.reason = Reason::kStateMemory;
      info.subject = "--state_memory";
      return MakeError(
          absl::StatusCode::kResourceExhausted, info,
          absl::StrCat("model \"", model, "\" may need ", bytes, " bytes of ",
                       what, "; of --state_memory ", left, " are left"));
    }
    reserved_bytes_ += bytes;
  }
  return Reservation(this, [self = shared_from_this(), bytes](void*) {
    MutexLock lock(&self->mu_);
    self->reserved_bytes_ -= bytes;
  });
}

int64_t StateBudget::reserved_bytes() const {
  MutexLock lock(&mu_);
  return TakenBytes();
}

int64_t StateBudget::TakenBytes() const {
  return reserved_bytes_ + (ledger_ != nullptr ? ledger_->kept_bytes() : 0);
}

}  // namespace accrue
