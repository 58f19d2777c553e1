#include "server/device/no_memory.h"

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace accrue {

absl::Status NoMemory(const std::string& device, absl::string_view message) {
  ErrorInfo info;
  info.reason = Reason::kDeviceMemory;
  info.subject = device;
  return MakeError(absl::StatusCode::kResourceExhausted, info,
                   absl::StrCat(device, ": ", message));
}

}  // namespace accrue
