// DeviceChoice: where models shall live: --device.

#ifndef ACCRUE_SERVER_SERVICE_DEVICE_CHOICE_H_
#define ACCRUE_SERVER_SERVICE_DEVICE_CHOICE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace accrue {

struct DeviceChoice {
  enum class Kind {
    kAuto,  // GPUs where there are any, else the CPU
    kCpu,
    kCuda,
  };
  Kind kind = Kind::kAuto;
  std::vector<int> gpus = {};  // kCuda: their indices; empty: all there are

  bool operator==(const DeviceChoice&) const = default;
};

// "auto", "cpu", "cuda", "cuda:0,2".
// INVALID_ARGUMENT: what is wrong with `text`, and what is wanted.
absl::StatusOr<DeviceChoice> ParseDeviceChoice(absl::string_view text);
std::string ToString(const DeviceChoice& choice);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_DEVICE_CHOICE_H_
