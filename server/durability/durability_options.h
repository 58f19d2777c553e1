// DurabilityOptions: where models are kept, and how often their state is
// written as a whole.
#ifndef ACCRUE_SERVER_DURABILITY_DURABILITY_OPTIONS_H_
#define ACCRUE_SERVER_DURABILITY_DURABILITY_OPTIONS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/durability/checkpoint_memory.h"
#include "server/durability/file.h"

namespace accrue {

struct DurabilityOptions {
  std::string data_dir;
  // What checkpoints of all models together may copy moments into.
  int64_t checkpoint_memory_bytes = int64_t{256} << 20;
  // The newest of a model that are kept.
  int64_t checkpoint_keep = 2;
  // A checkpoint follows so many updates after the last; 0: no number does.
  int64_t checkpoint_every_updates = 0;
  // Or so long after it, if anything has changed.
  absl::Duration checkpoint_period = absl::Minutes(10);
  // Or once a model's journal has so many bytes; 0: eight times its state, 64
  // MiB at least. At twice as many, pushes are refused until it is written.
  int64_t journal_limit_bytes = 0;
  int64_t journal_segment_bytes = int64_t{1} << 30;
};

// What the models of a data directory share. All outlive them.
struct DurabilityEnvironment {
  DurabilityOptions options;
  FileSystem* files = nullptr;
  WorkPool* pool = nullptr;
  TimerQueue* timers = nullptr;
  std::shared_ptr<CheckpointMemory> memory;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_DURABILITY_OPTIONS_H_
