// The real server, of which some models' passes fail, and some lose their GPU.
#include <utility>

#include "server/kernels/device_kernels.h"
#include "tests/e2e/faults.h"
#include "tests/e2e/test_daemon.h"
#include "tests/e2e/trap.h"

namespace accrue {
namespace {

int Serve(int argc, char** argv) {
  const Faults faults;
  return ServeUntilTerminated(argc, argv, [&](ServerOptions& options) {
    options.backend.make_kernels = [&] {
      return faults.WrapKernels(kernels::MakeCudaKernels(), QueueTrap);
    };
    options.backend.wrap_shards = [&](ShardFactory inner) {
      return faults.WrapShards(std::move(inner));
    };
  });
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Serve(argc, argv); }
