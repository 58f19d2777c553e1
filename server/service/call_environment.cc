#include "server/service/call_environment.h"

#include "server/base/error.h"

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

absl::StatusOr<DataDirectory*> FindData(const CallEnvironment& environment) {
  if (environment.data != nullptr) return environment.data;
  ErrorInfo info;
  info.reason = Reason::kNoDataDirectory;
  info.subject = "--data_dir";
  return MakeError(absl::StatusCode::kFailedPrecondition, info,
                   "the server keeps no checkpoints: it was started without "
                   "--data_dir");
}

}  // namespace accrue
