// Readings: what metrics show, as whoever wires the daemon lets them read it.
//
// Order.     each is called for every scrape; none waits for more than a short
//            lock
// Threading. safe
#ifndef ACCRUE_SERVER_OPS_READINGS_H_
#define ACCRUE_SERVER_OPS_READINGS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/model/model_store.h"

namespace accrue {

struct ProcessReading {
  bool draining = false;
  int64_t ingest_reserved_bytes = 0;
  int64_t ingest_memory_bytes = 0;
  // Folds that waited for --checkpoint_memory, and how long those did that do
  // not any more.
  int64_t checkpoint_memory_waits = 0;
  absl::Duration checkpoint_memory_wait;
};

// Of a model that is kept on disk.
struct KeptReading {
  absl::Time checkpoint_made;
  int64_t checkpoint_folded_pushes = 0;
  struct Journal {
    int64_t bytes = 0;
    int64_t limit_bytes = 0;
  };
  std::optional<Journal> journal = {};  // none under MEMORY
};

struct Readings {
  std::string version;                 // the daemon's
  const ModelStore* models = nullptr;  // outlives whoever has the readings
  std::function<ProcessReading()> process;
  std::function<std::optional<KeptReading>(const std::string& model)> kept;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_OPS_READINGS_H_
