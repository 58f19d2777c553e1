#include "server/service/health.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "accrue/v1/model_service.grpc.pb.h"
#include "accrue/v1/server_service.grpc.pb.h"
#include "accrue/v1/worker_service.grpc.pb.h"

namespace accrue {
namespace {

// How soon a loss is noticed that poisons no model.
constexpr absl::Duration kDeviceWatch = absl::Seconds(1);

}  // namespace

void Health::Start(grpc::HealthCheckServiceInterface* service) {
  {
    MutexLock lock(&mu_);
    service_ = service;
    for (const char* name : {"", v1::WorkerService::service_full_name(),
                             v1::ModelService::service_full_name(),
                             v1::ServerService::service_full_name()}) {
      service_->SetServingStatus(name, true);
    }
  }
  WatchDevices();
}

void Health::OnPoisonChange(bool poisoned) {
  MutexLock lock(&mu_);
  poisoned_count_ += poisoned ? 1 : -1;
  Tell();
}

void Health::Drain() {
  MutexLock lock(&mu_);
  draining_ = true;
  if (service_ != nullptr) service_->SetServingStatus(false);
}

void Health::Stop() {
  MutexLock lock(&mu_);
  service_ = nullptr;
}

void Health::Tell() {
  if (service_ == nullptr || draining_) return;
  // Whoever watches hears of changes only.
  const auto tell = [this](const char* name, bool serves,
                           std::optional<bool>& told) {
    mu_.AssertHeld();
    if (told != serves) service_->SetServingStatus(name, serves);
    told = serves;
  };
  tell(kModelsHealth, poisoned_count_ <= 0, models_told_);
  tell(kDevicesHealth, DevicesSound(), devices_told_);
}

bool Health::DevicesSound() const {
  return std::all_of(gpus_->begin(), gpus_->end(),
                     [](const auto& gpu) { return gpu->health().ok(); });
}

void Health::WatchDevices() {
  {
    MutexLock lock(&mu_);
    Tell();
    // What is lost stays lost, once it was told.
    if (gpus_->empty() || devices_told_ == false) return;
  }
  timers_->At(absl::Now() + kDeviceWatch, [this] { WatchDevices(); });
}

}  // namespace accrue
