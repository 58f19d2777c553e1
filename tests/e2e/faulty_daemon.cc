// The real server, of which some models' passes fail, and some lose their GPU.
#include "tests/e2e/faulty_daemon.h"

#include <utility>

#include "server/kernels/device_kernels.h"
#include "tests/e2e/gpu_loss.h"
#include "tests/e2e/test_daemon.h"
#include "tests/e2e/trap.h"
#include "tests/model/failing_shard.h"

namespace accrue {
namespace {

int Serve(int argc, char** argv) {
  const GpuLoss loss;
  return ServeUntilTerminated(argc, argv, [&](ServerOptions& options) {
    options.backend.make_kernels = [&] {
      return loss.WrapKernels(kernels::MakeCudaKernels(), QueueTrap);
    };
    options.backend.wrap_shards = [&](ShardFactory inner) {
      return loss.WrapShards(
          kLosingElems, kGoodPasses,
          FailingShards(kFaultyElems, kGoodPasses, std::move(inner)));
    };
  });
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Serve(argc, argv); }
