// CheckpointWriting: a checkpoint that is being written, step by step, on the
// pool; what CheckpointWriter feeds with copies of arrays.
//
// Order.     Start; then AddPiece, all pieces of each array in turn. Or Fail,
// at
//            any time, which ends it.
// Invariant. `done` runs exactly once, after the last step.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITING_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITING_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/base/work_pool.h"
#include "server/durability/checkpoint_files.h"
#include "server/durability/checkpoint_memory.h"
#include "server/durability/checkpoint_writer.h"

namespace accrue {

// What need not be copied.
struct CheckpointContents {
  TrainingState state;
  std::vector<std::shared_ptr<GroupBuffer>> parameters;  // none: no version
  std::shared_ptr<const Publication> publication;        // whose they are
  std::vector<Held> held;
  std::vector<StateArray> arrays;  // that come with AddPiece
};

class CheckpointWriting
    : public std::enable_shared_from_this<CheckpointWriting> {
 public:
  CheckpointWriting(CheckpointTarget target, CheckpointDone done);

  void Start(CheckpointContents contents) ACCRUE_EXCLUDES(mutex_);
  void AddPiece(CheckpointMemory::Block block) ACCRUE_EXCLUDES(mutex_);
  void Fail(const absl::Status& why) ACCRUE_EXCLUDES(mutex_);
  bool failed() const ACCRUE_EXCLUDES(mutex_);

  CheckpointMemory& memory() const { return *target_.memory; }
  // Of a piece of any array.
  int64_t ElemsOf(int64_t piece) const;
  int64_t piece_count() const { return PieceCount(target_.layout->elems()); }

 private:
  // In the order in which they are written.
  enum class Part { kDirectory, kParameters, kArrays, kHeld, kManifest, kNone };

  // Queues Step, unless it is queued already, or runs.
  void Wake() ACCRUE_REQUIRES(mutex_);
  void Step() ACCRUE_EXCLUDES(mutex_);
  void Finish(absl::Status status) ACCRUE_EXCLUDES(mutex_);

  // A piece of the part that is due, or what else is next. `block`: the
  // arrays' next piece.
  absl::Status WriteNext(const float* block);
  absl::Status MakeDirectory();
  absl::Status WriteParameterPiece();
  absl::Status WriteArrayPiece(const float* block);
  absl::Status WriteHeldPush();
  absl::Status Commit();
  // Where the flat vector's piece lies in the groups' vectors.
  std::vector<CheckpointFiles::Bytes> ParameterRuns(int64_t piece) const;

  const CheckpointTarget target_;
  const WorkPool::Lane lane_;

  mutable Mutex mutex_;
  bool is_awake_ ACCRUE_GUARDED_BY(mutex_) = false;  // stays so at the end
  absl::Status failure_ ACCRUE_GUARDED_BY(mutex_);
  std::deque<CheckpointMemory::Block> blocks_ ACCRUE_GUARDED_BY(mutex_);

  // Of Start, then of the step that runs.
  CheckpointDone done_;
  CheckpointContents contents_;
  Manifest manifest_;
  std::unique_ptr<CheckpointFiles> files_;
  Part part_ = Part::kDirectory;
  int64_t next_ = 0;  // piece of all of the part's
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITING_H_
