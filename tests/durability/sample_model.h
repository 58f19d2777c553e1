// SampleModel: a model's state and arrays as an executor would hand them over,
// and what a checkpoint of it must hold.
#ifndef ACCRUE_TESTS_DURABILITY_SAMPLE_MODEL_H_
#define ACCRUE_TESTS_DURABILITY_SAMPLE_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/checkpoint_writer.h"
#include "server/durability/file.h"
#include "server/model/commit_log.h"
#include "server/model/layout.h"

namespace accrue {

inline constexpr char kSampleInstance[] = "0123456789abcdef0123456789abcdef";

class SampleModel : public ArrayReader {
 public:
  // Random values, no two of them equal; with held pushes where the spec keeps
  // them.
  explicit SampleModel(ModelSpec spec, uint32_t seed = 1);

  const ModelSpec& spec() const { return spec_; }
  std::shared_ptr<const Layout> layout() const { return layout_; }
  int64_t elems() const { return layout_->elems(); }
  const std::vector<float>& array(StateArray array) const {
    return arrays_.at(array);
  }

  // All arrays but look_ahead, as Adam's under CLASSIC would be.
  CapturedState Captured() const;
  BeginChange Begun() const;

  // Counts.
  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override;

  CheckpointTarget Target(FileSystem& files, WorkPool& pool,
                          const std::string& directory, int64_t lsn) const;

  // Reports a failure unless `reader` has all of it, bit for bit.
  void ExpectIn(const CheckpointReader& reader) const;

 private:
  void FillArrays(uint32_t seed);
  void HoldPushes();

  const ModelSpec spec_;
  const std::shared_ptr<const Layout> layout_;
  TrainingState state_;
  std::map<StateArray, std::vector<float>> arrays_;
  std::unique_ptr<Device> device_ = MakeCpuDevice();
  std::vector<std::shared_ptr<GroupBuffer>> groups_;
  std::vector<Held> held_;
};

// Reads all that `writer`, which has begun, wants; waits where it does.
void ReadAll(CheckpointWriter& writer, const SampleModel& model);

// Captures the model, as an executor whose folds wait, and returns when the
// checkpoint is there, or is not.
absl::StatusOr<CheckpointInfo> WriteSample(const SampleModel& model,
                                           CheckpointTarget target);
// On a pool and in memory of its own.
absl::StatusOr<CheckpointInfo> WriteSample(const SampleModel& model,
                                           FileSystem& files,
                                           const std::string& directory,
                                           int64_t lsn);

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_SAMPLE_MODEL_H_
