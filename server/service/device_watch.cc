#include "server/service/device_watch.h"

#include "absl/time/clock.h"

namespace accrue {

DeviceWatch::DeviceWatch(const std::vector<std::unique_ptr<Gpu>>* gpus,
                         absl::Duration interval)
    : gpus_(gpus), interval_(interval), memory_(gpus->size()) {
  if (gpus->empty()) return;
  Ask();
  thread_ = std::thread([this] { ThreadLoop(); });
}

void DeviceWatch::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  stopped_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

std::optional<Gpu::Memory> DeviceWatch::memory(size_t index) const {
  MutexLock lock(&mu_);
  return memory_[index];
}

void DeviceWatch::Ask() {
  for (size_t i = 0; i < gpus_->size(); ++i) {
    const absl::StatusOr<Gpu::Memory> said = (*gpus_)[i]->memory();
    MutexLock lock(&mu_);
    memory_[i].reset();
    if (said.ok()) memory_[i] = *said;
  }
}

void DeviceWatch::ThreadLoop() {
  while (true) {
    {
      const absl::Time next = absl::Now() + interval_;
      MutexLock lock(&mu_);
      while (!stopping_ && !stopped_.WaitWithDeadline(&mu_, next)) {
      }
      if (stopping_) return;
    }
    Ask();
  }
}

}  // namespace accrue
