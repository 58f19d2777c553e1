// The real server on a device that some models lose.
#include "tests/e2e/faulty_daemon.h"

#include <utility>

#include "tests/e2e/test_daemon.h"
#include "tests/model/failing_shard.h"

int main(int argc, char** argv) {
  return accrue::ServeUntilTerminated(
      argc, argv, [](accrue::ServerOptions& options) {
        options.backend.wrap_shards = [](accrue::ShardFactory inner) {
          return accrue::FailingShards(accrue::kFaultyElems,
                                       accrue::kGoodPasses, std::move(inner));
        };
      });
}
