// The real server on two GPUs that are none: some models' passes fail, and some
// lose their GPU.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/device/fake_gpu.h"
#include "tests/e2e/faults.h"
#include "tests/e2e/test_daemon.h"
#include "tests/kernels/host_kernels.h"

namespace accrue {
namespace {

int Serve(int argc, char** argv) {
  const Faults faults;
  std::vector<FakeGpu*> fakes;  // the server's
  size_t next = 0;              // whose kernels are to be made
  return ServeUntilTerminated(argc, argv, [&](ServerOptions& options) {
    options.backend.open_gpus = [&](std::vector<int> indices) {
      if (indices.empty()) indices = {0, 1};
      std::vector<std::unique_ptr<Gpu>> gpus;
      for (const int index : indices) {
        auto gpu = std::make_unique<FakeGpu>(
            FakeGpuOptions{.name = "fake:" + std::to_string(index)});
        fakes.push_back(gpu.get());
        gpus.push_back(std::move(gpu));
      }
      return gpus;
    };
    options.backend.make_kernels = [&] {
      return faults.WrapKernels(kernels::MakeHostKernels(),
                                [gpu = fakes[next++]](Stream&) {
                                  gpu->Lose("a trap");
                                  return absl::OkStatus();
                                });
    };
    options.backend.wrap_shards = [&](ShardFactory inner) {
      return faults.WrapShards(std::move(inner));
    };
  });
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Serve(argc, argv); }
