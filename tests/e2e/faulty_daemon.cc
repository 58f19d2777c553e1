// The real server, of which some models' passes fail, and some lose their GPU.
#include "tests/e2e/faulty_daemon.h"

#include <utility>

#include "server/kernels/device_kernels.h"
#include "tests/e2e/fold_fault.h"
#include "tests/e2e/test_daemon.h"
#include "tests/e2e/trap.h"
#include "tests/model/failing_shard.h"

namespace accrue {
namespace {

int Serve(int argc, char** argv) {
  const FoldFault fault, loss;
  return ServeUntilTerminated(argc, argv, [&](ServerOptions& options) {
    options.backend.make_kernels = [&] {
      return loss.WrapKernels(
          fault.WrapKernels(kernels::MakeCudaKernels(), FailKernel), QueueTrap);
    };
    options.backend.wrap_shards = [&](ShardFactory inner) {
      inner = FailingShards(kFaultyElems, kGoodPasses, std::move(inner));
      inner = fault.WrapShards(kHalfFoldedElems, kGoodPasses, std::move(inner));
      return loss.WrapShards(kLosingElems, kGoodPasses, std::move(inner));
    };
  });
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Serve(argc, argv); }
