// The real server, of which some models' passes fail, and some lose their GPU;
// and which ends, or makes mistakes, where its environment says so.
#include <memory>
#include <utility>

#include "server/durability/file.h"
#include "server/kernels/device_kernels.h"
#include "tests/e2e/faults.h"
#include "tests/e2e/test_daemon.h"
#include "tests/e2e/trap.h"
#include "tests/faults/fail_points.h"
#include "tests/faults/folding_twice.h"

namespace accrue {
namespace {

int Serve(int argc, char** argv) {
  faults::InstallFailPoints();
  const std::unique_ptr<FileSystem> files = faults::FilesOfEnvironment();
  const Faults device_faults;
  return ServeUntilTerminated(argc, argv, [&](ServerOptions& options) {
    options.backend.make_kernels = [&] {
      return device_faults.WrapKernels(kernels::MakeCudaKernels(), QueueTrap);
    };
    options.backend.wrap_shards = [&](ShardFactory inner) {
      return faults::FoldingTwice(device_faults.WrapShards(std::move(inner)));
    };
    if (files != nullptr) options.files = files.get();
  });
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Serve(argc, argv); }
