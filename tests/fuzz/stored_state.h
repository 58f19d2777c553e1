// StoredState: a model's state as a capture takes it, for another model to go
// on from.
//
// Threading. for one thread.
#ifndef ACCRUE_TESTS_FUZZ_STORED_STATE_H_
#define ACCRUE_TESTS_FUZZ_STORED_STATE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/commit_log.h"
#include "server/model/model.h"
#include "server/model/training_state.h"
#include "tests/fuzz/world.h"

namespace accrue::fuzz {

class StoredState final : public Capture, public StateSource {
 public:
  explicit StoredState(int64_t elems) : elems_(elems) {}

  void Begin(CapturedState captured) override;
  bool Read(const ArrayReader& arrays, std::function<void()> resume) override;
  void Fail(const absl::Status& why) override;

  const TrainingState& state() const override { return state_; }
  bool Has(StateArray array) const override { return arrays_.contains(array); }
  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override;
  absl::StatusOr<ByteChain> ReadHeld(int64_t index) const override;

  // Makes it what is read of it from a manifest.
  void PassThroughJson(const ModelSpec& spec);

 private:
  friend std::shared_ptr<StoredState> Store(World& world, Model& model);

  const int64_t elems_;
  TrainingState state_;
  std::vector<std::string> held_;  // payloads
  std::map<StateArray, std::vector<float>> arrays_;
};

// Of a model that has parameters.
std::shared_ptr<StoredState> Store(World& world, Model& model);

// The same model once more. It is to be attached, perhaps to nothing.
std::shared_ptr<Model> Restore(World& world, const ModelSpec& spec,
                               const std::shared_ptr<StoredState>& stored);

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_STORED_STATE_H_
