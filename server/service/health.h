// Health: what grpc.health.v1 answers.
//
//   "", and each service of the API   the daemon is up; not while it drains
//   accrue.models                     no model is poisoned
//   accrue.devices                    no GPU is lost; the CPU never is
//
// A daemon whose device fails is up nevertheless: its other models go on. So
// only who asks for the last two hears of it.
//
// Order.     never waits for a device, a queue or a call.
// Threading. safe.

#ifndef ACCRUE_SERVER_SERVICE_HEALTH_H_
#define ACCRUE_SERVER_SERVICE_HEALTH_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <grpcpp/health_check_service_interface.h>

#include "server/base/mutex.h"
#include "server/base/timer_queue.h"
#include "server/device/gpu.h"

namespace accrue {

inline constexpr char kModelsHealth[] = "accrue.models";
inline constexpr char kDevicesHealth[] = "accrue.devices";

class Health {
 public:
  // Both outlive it, and the timers have stopped when it goes.
  Health(const std::vector<std::unique_ptr<Gpu>>* gpus, TimerQueue* timers)
      : gpus_(gpus), timers_(timers) {}

  // From now on until Stop it is `service` that answers.
  void Start(grpc::HealthCheckServiceInterface* service) ACCRUE_EXCLUDES(mu_);
  // A model was poisoned, or one that was is none any more.
  void OnPoisonChange(bool poisoned) ACCRUE_EXCLUDES(mu_);
  // Nothing serves from now on.
  void Drain() ACCRUE_EXCLUDES(mu_);
  void Stop() ACCRUE_EXCLUDES(mu_);

 private:
  void Tell() ACCRUE_REQUIRES(mu_);
  bool DevicesSound() const;
  void WatchDevices() ACCRUE_EXCLUDES(mu_);

  const std::vector<std::unique_ptr<Gpu>>* const gpus_;
  TimerQueue* const timers_;
  Mutex mu_;
  grpc::HealthCheckServiceInterface* service_ ACCRUE_GUARDED_BY(mu_) = nullptr;
  bool draining_ ACCRUE_GUARDED_BY(mu_) = false;
  // May be below 0 for a moment: of two changes of one model the second may
  // come first.
  int64_t poisoned_count_ ACCRUE_GUARDED_BY(mu_) = 0;
  std::optional<bool> models_told_ ACCRUE_GUARDED_BY(mu_);
  std::optional<bool> devices_told_ ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_HEALTH_H_
