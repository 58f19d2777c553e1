// Harness: a model on a real pool, with calls that wait for their answers.
#ifndef ACCRUE_TESTS_MODEL_HARNESS_H_
#define ACCRUE_TESTS_MODEL_HARNESS_H_

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/memory_ledger.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/model/model.h"
#include "server/model/model_store.h"

namespace accrue {

// One group "all" of one tensor "w" of `elems`: sgd without momentum unless
// changed, lr 1.
ModelSpec SimpleSpec(int64_t elems, int64_t k);

// What is left of `values` on the way through an encoding.
std::vector<float> Rounded(const std::vector<float>& values,
                           kernels::Encoding encoding);

// All of a model's state that can be seen, for bitwise comparison: a zero and
// a negative zero differ.
struct StateImage {
  std::vector<float> momentum, variance, accumulation, parameters;
  std::vector<rule::CycleState> cycles;
  std::optional<Version> version;
  int64_t folded_pushes = 0;
  int64_t accumulation_bytes = 0;  // buffers, and what is held
  // By worker: id, last sequence, pushes toward the quota.
  std::vector<std::tuple<std::string, std::string, int64_t, int64_t>> sessions;
};
bool operator==(const StateImage& a, const StateImage& b);
// Without what is random, a lineage and session ids: equal for two models that
// have done the same.
StateImage Anonymous(StateImage image);

// An arrival that notes why it was aborted.
class NotedArrival : public Arrival {
 public:
  void Abort(absl::Status why) override {
    if (!aborted_) promise_.set_value(std::move(why));
    aborted_ = true;
  }
  // Waits for the abort.
  absl::Status Why() { return promise_.get_future().get(); }
  bool aborted() const { return aborted_; }

 private:
  std::atomic<bool> aborted_{false};
  std::promise<absl::Status> promise_;
};

// Holds a model's executor up: what is sent while it lives is queued, and ready
// together at its end.
class Hold {
 public:
  explicit Hold(Model& model);
  ~Hold() { released_.set_value(); }

 private:
  std::promise<void> released_;
};

class Harness {
 public:
  explicit Harness(int threads = 2);
  ~Harness();

  ModelEnvironment& environment() { return environment_; }
  absl::StatusOr<std::shared_ptr<Model>> TryMake(ModelSpec spec);
  // Created and initialized: every parameter `value`.
  std::shared_ptr<Model> Make(ModelSpec spec, double value = 0);

  absl::StatusOr<Version> Initialize(Model& model, double value,
                                     bool restore = true);
  absl::StatusOr<OpenedSession> Open(Model& model, const std::string& worker,
                                     const std::string& id = "",
                                     const std::string& opening = "");
  absl::Status CloseSession(Model& model, const std::string& id);
  absl::StatusOr<EndedCycle> EndCycle(Model& model,
                                      std::optional<Version> version = {});
  absl::Status Update(Model& model, std::vector<HyperparameterUpdate> updates);

  // A complete push of `gradient` against the newest version, scanned and
  // hashed as ingest would.
  std::unique_ptr<Push> NewPush(
      Model& model, const std::string& session, int64_t sequence,
      const std::vector<float>& gradient,
      kernels::Encoding encoding = kernels::Encoding::kF32);
  // Begins and submits; the answer comes with the future.
  std::future<absl::StatusOr<PushOutcome>> Send(Model& model,
                                                std::unique_ptr<Push> push);
  absl::StatusOr<PushOutcome> PushNow(Model& model,
                                      std::unique_ptr<Push> push) {
    return Send(model, std::move(push)).get();
  }
  absl::StatusOr<PushOutcome> PushNow(Model& model, const std::string& session,
                                      int64_t sequence,
                                      const std::vector<float>& gradient) {
    return PushNow(model, NewPush(model, session, sequence, gradient));
  }

  std::vector<float> Parameters(Model& model);
  StateImage Image(Model& model);

 private:
  std::unique_ptr<Device> device_;
  MemoryLedger ledger_;
  TimerQueue timers_;
  WorkPool pool_;  // ends first: what is queued may use the rest
  ModelEnvironment environment_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_HARNESS_H_
