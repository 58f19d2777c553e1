// GpuFixture: a server in this process on two GPUs that are none, of which the
// test keeps hold.
#ifndef ACCRUE_TESTS_SERVICE_GPU_FIXTURE_H_
#define ACCRUE_TESTS_SERVICE_GPU_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "tests/device/fake_gpu.h"
#include "tests/kernels/host_kernels.h"
#include "tests/service/service_fixture.h"

namespace accrue {

class GpuFixture : public ServiceFixture {
 protected:
  // A GPU's: its ring, and room for four arrays of 4 Mi elements.
  static constexpr int64_t kCapacityBytes = int64_t{128} << 20;

  GpuFixture() : GpuFixture(MakeGpus()) {}

  FakeGpu& gpu(int index) { return *gpus_[static_cast<size_t>(index)]; }

 private:
  using Gpus = std::vector<std::unique_ptr<FakeGpu>>;

  static Gpus MakeGpus() {
    Gpus gpus;
    for (const char* name : {"fake:0", "fake:1"}) {
      gpus.push_back(std::make_unique<FakeGpu>(
          FakeGpuOptions{.capacity_bytes = kCapacityBytes, .name = name}));
    }
    return gpus;
  }
  explicit GpuFixture(Gpus gpus) : ServiceFixture(OnGpus(gpus)) {
    for (auto& gpu : gpus) gpus_.push_back(gpu.release());
  }
  // Which are the server's from then on.
  static ServerOptions OnGpus(Gpus& gpus) {
    ServerOptions options = Options();
    options.backend.device.kind = DeviceChoice::Kind::kCuda;
    options.backend.open_gpus = [&gpus](const std::vector<int>&) {
      std::vector<std::unique_ptr<Gpu>> opened;
      for (auto& gpu : gpus) opened.emplace_back(gpu.get());
      return opened;
    };
    options.backend.make_kernels = kernels::MakeHostKernels;
    // However many cores there are: who waits for a driver takes none.
    options.threads = 1;
    return options;
  }

  std::vector<FakeGpu*> gpus_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_GPU_FIXTURE_H_
