// The real server on two GPUs that are none, which some models lose.
#include <memory>
#include <utility>
#include <vector>

#include "tests/device/fake_gpu.h"
#include "tests/e2e/faulty_daemon.h"
#include "tests/e2e/test_daemon.h"
#include "tests/kernels/host_kernels.h"
#include "tests/model/failing_shard.h"

int main(int argc, char** argv) {
  return accrue::ServeUntilTerminated(
      argc, argv, [](accrue::ServerOptions& options) {
        options.backend.open_gpus = [](const std::vector<int>&) {
          std::vector<std::unique_ptr<accrue::Gpu>> gpus;
          for (const char* name : {"fake:0", "fake:1"}) {
            gpus.push_back(std::make_unique<accrue::FakeGpu>(
                accrue::FakeGpuOptions{.name = name}));
          }
          return gpus;
        };
        options.backend.make_kernels = accrue::kernels::MakeHostKernels;
        options.backend.wrap_shards = [](accrue::ShardFactory inner) {
          return accrue::FailingShards(accrue::kFaultyElems,
                                       accrue::kGoodPasses, std::move(inner));
        };
      });
}
