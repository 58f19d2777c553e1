// CheckpointWriting: a checkpoint that is being written, step by step, on the
// pool; what CheckpointWriter feeds with copies of arrays.
//
// Order.     Start; then AddPiece, all pieces of each array in turn. Or Fail,
//            whenever it is, which ends it. Pieces are written as they come,
//            while folds may wait for their memory; parameters when there is
//            none, or all are there: then updates wait for theirs.
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
  enum class Part { kDirectory, kArrays, kHeld, kManifest, kNone };
  struct Piece {
    CheckpointMemory::Block block;  // null: none
    uint64_t hash = 0;
  };

  // Queues Step, unless it is queued already, or runs.
  void Wake() ACCRUE_REQUIRES(mutex_);
  void Step() ACCRUE_EXCLUDES(mutex_);
  void Finish(absl::Status status) ACCRUE_EXCLUDES(mutex_);
  int64_t array_piece_count() const {
    return piece_count() * static_cast<int64_t>(contents_.arrays.size());
  }

  // What Step does next: false: nothing, for now.
  bool TakePiece(Piece* piece) ACCRUE_REQUIRES(mutex_);
  // `piece`: the next of an array; without a block: of parameters, or of the
  // other parts.
  absl::Status WriteNext(const Piece& piece);
  absl::Status MakeDirectory();
  absl::Status WriteArrayPiece(const Piece& piece);
  absl::Status WriteParameterPiece();
  // On to the next part, if both are written.
  void EndArrays();
  absl::Status WriteHeldPush();
  absl::Status Commit();
  // Where the flat vector's piece lies in the groups' vectors.
  std::vector<CheckpointFiles::Bytes> ParameterRuns(int64_t piece) const;

  const CheckpointTarget target_;
  const WorkPool::Lane lane_;

  mutable Mutex mutex_;
  bool is_awake_ ACCRUE_GUARDED_BY(mutex_) = false;  // stays so at the end
  absl::Status failure_ ACCRUE_GUARDED_BY(mutex_);
  std::deque<Piece> pieces_ ACCRUE_GUARDED_BY(mutex_);
  int64_t added_ ACCRUE_GUARDED_BY(mutex_) = 0;  // pieces

  // Of Start, then of the step that runs.
  CheckpointDone done_;
  CheckpointContents contents_;
  Manifest manifest_;
  std::unique_ptr<CheckpointFiles> files_;
  Part part_ = Part::kDirectory;
  std::unique_ptr<CheckpointFiles::Arrays> state_file_;
  std::unique_ptr<CheckpointFiles::Arrays> parameters_file_;
  // What comes next of each.
  int64_t array_piece_ = 0;  // of all arrays
  int64_t parameter_piece_ = 0;
  int64_t held_push_ = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_WRITING_H_
