#include "server/service/call_environment.h"

namespace accrue {
namespace {

// Code, threads' stacks, gRPC's own, small models' overhead.
constexpr int64_t kProcessBytes = int64_t{64} << 20;

}  // namespace

int64_t MemoryCeiling(const CallEnvironment& environment) {
  const IngestOptions& ingest = environment.ingest->options();
  return environment.store->reserved_state_bytes() +
         ingest.ingest_memory_bytes +
         ingest.max_push_streams * environment.stream_bytes +
         environment.pinned_bytes + kProcessBytes;
}

}  // namespace accrue
