// World: a daemon without its transport, on one thread: models, ingest, and
// what they stand on. And what of a model's state can be seen.
//
// Order.     whatever a method leads to has happened when it returns.
#ifndef ACCRUE_TESTS_FUZZ_WORLD_H_
#define ACCRUE_TESTS_FUZZ_WORLD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/ingest/ingest.h"
#include "server/model/model.h"
#include "server/model/model_store.h"
#include "server/rule/cycle.h"
#include "tests/fuzz/heap_device.h"
#include "tests/fuzz/one_thread.h"
#include "tests/fuzz/require.h"

namespace accrue::fuzz {

// Calls start(done), and returns what `done` was given by the time nothing is
// queued any more.
template <typename T, typename Start>
T Await(Start start) {
  auto given = std::make_shared<std::optional<T>>();
  start([given](T value) {
    Require(!given->has_value(), "done is called once");
    given->emplace(std::move(value));
  });
  RunQueued();
  Require(given->has_value(), "done is called");
  return *std::move(*given);
}

// Of two images that are equal no bit of the state differs.
struct Image {
  std::vector<float> momentum, variance, accumulation, parameters;
  std::vector<rule::CycleState> cycles;
  std::optional<Version> version;
  int64_t folded_pushes = 0;
  int64_t accumulation_bytes = 0;  // buffers, and what is held

  bool finite() const;
};
bool operator==(const Image& a, const Image& b);

class World {
 public:
  // For models of a few elements, and with timeouts that are over whenever a
  // timer fires.
  explicit World(int64_t ingest_memory_bytes = int64_t{1} << 20);
  // Everything has been given back by then, but for models that were not
  // deleted.
  ~World();

  Ingest& ingest() { return *ingest_; }
  ModelStore& store() { return *store_; }
  WorkPool* pool() { return pool_.get(); }

  absl::StatusOr<std::shared_ptr<Model>> Create(const ModelSpec& spec);
  // Every parameter 0.5.
  absl::StatusOr<Version> Initialize(Model& model);
  absl::StatusOr<OpenedSession> Open(Model& model, const std::string& worker,
                                     const std::string& id = "");
  absl::StatusOr<EndedCycle> EndCycle(Model& model,
                                      std::optional<Version> version = {});
  // In the order of the spec's tensors, widened.
  std::vector<float> Parameters(Model& model, kernels::Encoding encoding);
  Image Look(Model& model);

 private:
  HeapDevice device_;
  MemoryLedger ledger_;
  TimerQueue timers_;
  std::unique_ptr<WorkPool> pool_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<Ingest> ingest_;
};

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_WORLD_H_
