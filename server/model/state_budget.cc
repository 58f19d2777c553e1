#include "server/model/state_budget.h"

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace accrue {

absl::StatusOr<StateBudget::Reservation> StateBudget::Reserve(
    const std::string& model, absl::string_view what, int64_t bytes) {
  {
    MutexLock lock(&mu_);
    if (const int64_t left = budget_bytes_ - reserved_bytes_; bytes > left) {
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
  return reserved_bytes_;
}

}  // namespace accrue
