#include "server/service/device_watch.h"

#include "absl/time/clock.h"

namespace accrue {

DeviceWatch::DeviceWatch(const std::vector<std::unique_ptr<Gpu>>* gpus,
                         absl::Duration interval)
    : gpus_(gpus), interval_(interval), memory_(gpus->size()) {
  for (size_t i = 0; i < gpus->size(); ++i) {
    Ask(i);
    threads_.emplace_back([this, i] { ThreadLoop(i); });
  }
}

void DeviceWatch::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  stopped_.SignalAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::optional<Gpu::Memory> DeviceWatch::memory(size_t index) const {
  MutexLock lock(&mu_);
  return memory_[index];
}

void DeviceWatch::Ask(size_t index) {
  const absl::StatusOr<Gpu::Memory> said = (*gpus_)[index]->memory();
  MutexLock lock(&mu_);
  memory_[index].reset();
  if (said.ok()) memory_[index] = *said;
}

void DeviceWatch::ThreadLoop(size_t index) {
  while (true) {
    {
      const absl::Time next = absl::Now() + interval_;
      MutexLock lock(&mu_);
      while (!stopping_ && !stopped_.WaitWithDeadline(&mu_, next)) {
      }
      if (stopping_) return;
    }
    Ask(index);
  }
}

}  // namespace accrue
