// CallEnvironment: what every call may use of the process.

#ifndef ACCRUE_SERVER_SERVICE_CALL_ENVIRONMENT_H_
#define ACCRUE_SERVER_SERVICE_CALL_ENVIRONMENT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/durability/data_directory.h"
#include "server/ingest/ingest.h"
#include "server/model/model_store.h"
#include "server/service/access.h"
#include "server/service/connections.h"
#include "server/service/data_connections.h"
#include "server/service/live_calls.h"

namespace accrue {

// All of it outlives the calls.
struct CallEnvironment {
  ModelStore* store = nullptr;
  DataDirectory* data = nullptr;  // null: nothing is kept
  Ingest* ingest = nullptr;
  TimerQueue* timers = nullptr;
  WorkPool* pool = nullptr;
  // For short work of calls that must leave the thread it is found on.
  WorkPool::Lane lane;
  Connections* connections = nullptr;
  DataConnections* data_connections = nullptr;
  LiveCalls* calls = nullptr;
  Access* access = nullptr;
  // A reader that takes nothing for this long is ended.
  absl::Duration reader_idle_timeout = absl::Seconds(30);
  // What one push stream may hold besides its admitted payload.
  int64_t stream_bytes = 0;
  // What the backend has pinned.
  int64_t pinned_bytes = 0;
};

// The process may grow to this: state and publications of the models that
// exist, copies in the encodings that were asked for, what lost GPUs keep of
// either, ingest memory, what unread streams hold, what is pinned on the way to
// GPUs, and a constant for the rest. What a GPU's driver takes for itself is
// not known.
int64_t MemoryCeiling(const CallEnvironment& environment);

// FAILED_PRECONDITION kNoDataDirectory: nothing is kept.
absl::StatusOr<DataDirectory*> FindData(const CallEnvironment& environment);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_CALL_ENVIRONMENT_H_
