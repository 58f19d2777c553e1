// Stored: a model's captured state in the test's memory, as durability would
// have it on disk.
#ifndef ACCRUE_TESTS_MODEL_STORED_H_
#define ACCRUE_TESTS_MODEL_STORED_H_

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/model/commit_log.h"
#include "server/model/model.h"
#include "server/model/training_state.h"

namespace accrue {

class Stored : public StateSource {
 public:
  const TrainingState& state() const override { return state_; }
  bool Has(StateArray array) const override { return arrays_.contains(array); }
  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override;
  absl::StatusOr<ByteChain> ReadHeld(int64_t index) const override;

  TrainingState state_;
  std::map<StateArray, std::vector<float>> arrays_;
  std::vector<std::string> held_;
  absl::Status fault_;  // of every Read
};

// Captures into a Stored. With `step`: it has memory for one piece at a time,
// and resumes from a thread of its own.
class MemoryCapture : public Capture {
 public:
  explicit MemoryCapture(std::shared_ptr<const Layout> layout,
                         bool step = false)
      : layout_(std::move(layout)), step_(step) {}

  void Begin(CapturedState captured) override;
  bool Read(const ArrayReader& arrays, std::function<void()> resume) override;
  void Fail(const absl::Status& why) override { promise_.set_value(why); }

  // Once. No thread of its own is left afterwards.
  absl::StatusOr<std::shared_ptr<Stored>> Wait();

 private:
  const std::shared_ptr<const Layout> layout_;
  const bool step_;
  std::vector<StateArray> left_;
  int64_t piece_ = 0;
  Mutex mutex_;
  std::vector<std::thread> resuming_ ACCRUE_GUARDED_BY(mutex_);
  std::shared_ptr<Stored> stored_ = std::make_shared<Stored>();
  std::promise<absl::StatusOr<std::shared_ptr<Stored>>> promise_;
};

absl::StatusOr<std::shared_ptr<Stored>> CaptureNow(Model& model,
                                                   bool step = false);
absl::Status RestoreNow(Model& model, std::shared_ptr<const Stored> stored);

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_STORED_H_
