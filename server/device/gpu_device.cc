#include <utility>

#include "server/device/gpu.h"

namespace accrue {
namespace {

class GpuDevice : public Device {
 public:
  explicit GpuDevice(std::vector<Gpu*> gpus) : gpus_(std::move(gpus)) {}

  std::string name() const override { return Sound().name(); }
  bool allocates_host_memory() const override { return false; }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    return Sound().Allocate(size_bytes, tag, ledger);
  }
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    return Sound().AllocateHost(size_bytes, tag, ledger);
  }

 private:
  Gpu& Sound() const {
    for (Gpu* const gpu : gpus_) {
      if (gpu->health().ok()) return *gpu;
    }
    return *gpus_.front();  // and it will say what it was lost to
  }

  const std::vector<Gpu*> gpus_;
};

}  // namespace

std::unique_ptr<Device> MakeGpuDevice(std::vector<Gpu*> gpus) {
  return std::make_unique<GpuDevice>(std::move(gpus));
}

}  // namespace accrue
