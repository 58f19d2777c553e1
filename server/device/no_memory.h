// NoMemory: the error of a device that has no memory left, or for which the
// host has none to pin.
//
// Threading. safe.
#ifndef ACCRUE_SERVER_DEVICE_NO_MEMORY_H_
#define ACCRUE_SERVER_DEVICE_NO_MEMORY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace accrue {

// RESOURCE_EXHAUSTED kDeviceMemory. `device`: its name; `message`: what was
// asked for, and what there is.
absl::Status NoMemory(const std::string& device, absl::string_view message);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_NO_MEMORY_H_
