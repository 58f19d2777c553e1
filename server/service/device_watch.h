// DeviceWatch: asks the driver of each GPU, now and then, for its memory: to
// know of that, and to find out that a GPU is lost which nobody uses.
//
// Order.     a thread for each GPU: only that waits for its driver. A loss is
//            told by the GPU's health() from then on.
// Threading. safe.

#ifndef ACCRUE_SERVER_SERVICE_DEVICE_WATCH_H_
#define ACCRUE_SERVER_SERVICE_DEVICE_WATCH_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/device/gpu.h"

namespace accrue {

class DeviceWatch {
 public:
  // Has asked once when it returns, and goes on until Stop. The GPUs outlive
  // it.
  explicit DeviceWatch(const std::vector<std::unique_ptr<Gpu>>* gpus,
                       absl::Duration interval = absl::Seconds(1));
  ~DeviceWatch() { Stop(); }
  DeviceWatch(const DeviceWatch&) = delete;
  DeviceWatch& operator=(const DeviceWatch&) = delete;

  // Waits for the drivers that are being asked. By one thread.
  void Stop() ACCRUE_EXCLUDES(mu_);

  // What the GPU's driver said last; none: it had no answer.
  std::optional<Gpu::Memory> memory(size_t index) const ACCRUE_EXCLUDES(mu_);

 private:
  void Ask(size_t index) ACCRUE_EXCLUDES(mu_);
  void ThreadLoop(size_t index) ACCRUE_EXCLUDES(mu_);

  const std::vector<std::unique_ptr<Gpu>>* const gpus_;
  const absl::Duration interval_;
  mutable Mutex mu_;
  CondVar stopped_;
  bool stopping_ ACCRUE_GUARDED_BY(mu_) = false;
  std::vector<std::optional<Gpu::Memory>> memory_ ACCRUE_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;  // [gpus]
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_DEVICE_WATCH_H_
