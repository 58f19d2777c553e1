// What a data directory says of one of its models, by name.
//
// Threading. safe
#ifndef ACCRUE_SERVER_DURABILITY_DATA_ERRORS_H_
#define ACCRUE_SERVER_DURABILITY_DATA_ERRORS_H_

#include <string>

#include "absl/status/status.h"

namespace accrue {

// UNAVAILABLE kCheckpointFailed: its files cannot be written.
absl::Status Unwritable(const absl::Status& why, const std::string& model);
// What has no reason yet is the disk's: Unwritable.
absl::Status WithReason(const absl::Status& why, const std::string& model);
// DATA_LOSS kDamaged.
absl::Status Damaged(const absl::Status& why, const std::string& model);
// NOT_FOUND kModelUnknown.
absl::Status Unknown(const std::string& model);
// UNAVAILABLE: another call has not ended its change.
absl::Status BeingChanged(const std::string& model);
// Why a model that is there cannot be taken up now: Damaged, what `why` is if
// it has a reason, or UNAVAILABLE.
absl::Status LeftOut(const absl::Status& why, const std::string& model);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_DATA_ERRORS_H_
