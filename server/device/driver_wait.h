// DriverWait: while one lives, its thread may wait for a device's driver: to
// allocate, to clear or to free a GPU's memory or pinned memory takes as long
// as the driver likes. A WorkPool goes on with another thread meanwhile.
#ifndef ACCRUE_SERVER_DEVICE_DRIVER_WAIT_H_
#define ACCRUE_SERVER_DEVICE_DRIVER_WAIT_H_

#include <optional>

#include "server/base/work_pool.h"
#include "server/device/device.h"

namespace accrue {

class DriverWait {
 public:
  explicit DriverWait(const Device& device) {
    if (!device.allocates_host_memory()) waiting_.emplace();
  }

 private:
  std::optional<WorkPool::Waiting> waiting_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_DRIVER_WAIT_H_
