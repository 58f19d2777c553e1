#include "server/durability/data_errors.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/error.h"

namespace accrue {

absl::Status Unwritable(const absl::Status& why, const std::string& model) {
  ErrorInfo info;
  info.reason = Reason::kCheckpointFailed;
  info.subject = model;
  return MakeError(absl::StatusCode::kUnavailable, info,
                   absl::StrCat("model \"", model, "\": ", why.message()));
}

absl::Status WithReason(const absl::Status& why, const std::string& model) {
  if (GetErrorInfo(why).reason != Reason::kUnspecified) return why;
  return Unwritable(why, model);
}

absl::Status Damaged(const absl::Status& why, const std::string& model) {
  ErrorInfo info;
  info.reason = Reason::kDamaged;
  info.subject = model;
  return MakeError(
      absl::StatusCode::kDataLoss, info,
      absl::StrCat("model \"", model, "\" is damaged: ", why.message(),
                   "; restore it from one of its checkpoints, or delete it"));
}

absl::Status Unknown(const std::string& model) {
  ErrorInfo info;
  info.reason = Reason::kModelUnknown;
  info.subject = model;
  return MakeError(absl::StatusCode::kNotFound, info,
                   absl::StrCat("no model \"", model, "\""));
}

absl::Status BeingChanged(const std::string& model) {
  ErrorInfo info;
  info.subject = model;
  info.retry_after = absl::Seconds(1);
  return MakeError(absl::StatusCode::kUnavailable, info,
                   absl::StrCat("model \"", model,
                                "\" is being restored or deleted by another "
                                "call; try again when that has ended"));
}

absl::Status LeftOut(const absl::Status& why, const std::string& model) {
  if (absl::IsDataLoss(why)) return Damaged(why, model);
  ErrorInfo info = GetErrorInfo(why);
  info.subject = model;
  const bool said = info.reason != Reason::kUnspecified;
  return MakeError(
      said ? why.code() : absl::StatusCode::kUnavailable, info,
      absl::StrCat("model \"", model, "\" is left out: ", why.message(),
                   "; start the daemon again when that is mended, or restore "
                   "the model from one of its checkpoints, and give up what "
                   "came behind that"));
}

}  // namespace accrue
