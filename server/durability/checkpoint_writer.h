// CheckpointWriter: takes a model's state while it trains on, and makes a
// checkpoint of it. WriteCheckpoint: the same of a state that stands still.
//
// Order.     moments as they are read: folds wait for them where they do not
//            fit into the memory. When there is none to be written, parameters,
//            from their publication, uncopied: the update after next waits for
//            that. Then payloads that are held, uncopied; then the manifest.
//            Everything is written in steps of a piece on the pool, by one
//            thread at a time.
// Memory.    the captured publication lives until it is written, pushes that
//            are held until all is done.
// Errors.    UNAVAILABLE kCheckpointFailed: the disk's, in its words; nothing
//            of the checkpoint is left, and older ones are as before. A model's
//            own, from Capture::Fail or its arrays.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITER_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/work_pool.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_memory.h"
#include "server/durability/file.h"
#include "server/model/commit_log.h"
#include "server/model/layout.h"
#include "server/model/spec.h"

namespace accrue {

// Where a checkpoint goes, and what it is of.
struct CheckpointTarget {
  FileSystem* files = nullptr;
  WorkPool* pool = nullptr;
  std::shared_ptr<CheckpointMemory> memory;
  std::string directory;  // of the model's checkpoints; it is there
  std::string instance;
  // The last record that the state includes; asked once, when it is captured.
  // No other checkpoint of the model has it. Not OK: there is none, for now.
  std::function<absl::StatusOr<int64_t>()> lsn;
  ModelSpec spec;
  std::shared_ptr<const Layout> layout;  // the spec's
};

// Runs on the pool, once.
using CheckpointDone = absl::AnyInvocable<void(absl::StatusOr<CheckpointInfo>)>;

class CheckpointWriting;

class CheckpointWriter : public Capture {
 public:
  CheckpointWriter(CheckpointTarget target, CheckpointDone done);
  // What was not read to its end comes to nothing: CANCELLED.
  ~CheckpointWriter() override;

  void Begin(CapturedState captured) override;
  bool Read(const ArrayReader& arrays, std::function<void()> resume) override;
  void Fail(const absl::Status& why) override;

 private:
  const std::shared_ptr<CheckpointWriting> writing_;
  // What Read comes to next.
  std::vector<StateArray> arrays_;
  size_t array_ = 0;
  int64_t piece_ = 0;
  bool ended_ = false;
};

// Of a model that begins; or, of an empty `begin`, of one that was created and
// has no parameters yet.
void WriteCheckpoint(CheckpointTarget target, BeginChange begin,
                     CheckpointDone done);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITER_H_
