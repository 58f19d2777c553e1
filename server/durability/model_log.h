// ModelLog: what is kept of one model while it trains: its journal, or how far
// it has come; and its checkpoints.
//
// Order.     a checkpoint is made when it is asked for, or due, by a step of
//            the model's executor; one at a time. When it is durable, older
//            ones are retired, and the journal's segments behind it dropped.
// Errors.    UNAVAILABLE kJournalFailed: a change is not durable (Journal's);
//            kCheckpointFailed: older checkpoints are as before.
//            NOT_FOUND: the model was deleted.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_MODEL_LOG_H_
#define ACCRUE_SERVER_DURABILITY_MODEL_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/durability/checkpoint_writer.h"
#include "server/durability/durability_options.h"
#include "server/durability/journal.h"
#include "server/durability/progress.h"
#include "server/model/commit_log.h"
#include "server/model/model.h"

namespace accrue {

class ModelLog : public CommitLog,
                 public std::enable_shared_from_this<ModelLog> {
 public:
  struct Options {
    std::shared_ptr<const DurabilityEnvironment> environment;
    std::shared_ptr<Model> model;        // whom it is for; not kept alive
    std::string directory;               // the model's; it is there
    std::string instance;                // RandomId's, of this model's files
    CheckpointInfo newest;               // its newest checkpoint
    std::shared_ptr<Journal> journal;    // JOURNAL
    std::unique_ptr<Progress> progress;  // MEMORY
  };
  explicit ModelLog(Options options);
  ~ModelLog() override;
  // Makes checkpoints when they are due.
  void Start();

  bool journals() const override { return journal_ != nullptr; }
  void Append(Change change, Done done) override;
  void NoteChange() override;
  void NoteFolded(const Version& version, int64_t folded_pushes) override;

  // A checkpoint of everything that was answered by now. `done` runs on the
  // pool. Where nothing has changed since the newest one: that one.
  void Checkpoint(CheckpointDone done);
  // The same when the process ends in order: a restart will know that nothing
  // was lost.
  void CheckpointLast(CheckpointDone done);

  // Whether a restart will find all that was acknowledged: always with a
  // journal, else once CheckpointLast has succeeded.
  bool IsKept() const;

  // The model is deleted: what is appended from now on fails.
  void Close();

  // While what is returned lives, no checkpoint that is made from now on
  // retires the one of this name.
  std::shared_ptr<const std::string> Pin(const std::string& name);

  CheckpointInfo newest() const;
  // With `journals()`: what the newest checkpoint needs of the journal, by
  // whole segments, and what starts another one.
  int64_t journal_bytes() const;
  int64_t journal_limit_bytes() const { return journal_limit_bytes_; }
  const std::string& directory() const { return directory_; }
  const std::string& instance() const { return instance_; }

 private:
  // A capture that failed, and the record that has to be there for the next.
  struct BehindRefused {
    bool capture_ended;
    std::optional<absl::Status> written;
  };

  // In model_log_beginning.cc:
  void AppendBegin(BeginChange change, Done done);
  void AppendRestore(RestoreChange change, Done done);
  absl::StatusOr<CheckpointInfo> WriteRestored(const RestoreChange& change,
                                               int64_t lsn);
  // The number of the checkpoint that a beginning is; then `write` it.
  void NumberBegin(Done done,
                   absl::AnyInvocable<void(int64_t lsn, Done done)> write);
  // `done`; where the beginning `lsn` is refused, its checkpoint goes first. If
  // it cannot, it goes before the next one is written.
  Done RemoveIfRefused(int64_t lsn, Done done);
  // Whether the journal has a record behind each beginning that was refused.
  // Until then, a restart may find that it counts all the same, and its
  // checkpoint is needed.
  bool IsOutOfDoubt() const ACCRUE_EXCLUDES(mutex_);
  // Once they are out of doubt. UNAVAILABLE: there is one still, and no
  // checkpoint may be numbered: it would be retired as if that one were sound.
  absl::Status RemoveRefused() ACCRUE_EXCLUDES(mutex_);
  // The number of what is captured, in a step of the executor: no beginning is
  // on its way, and the journal may wait for this very step. UNAVAILABLE: the
  // journal has to write a record behind what was refused first.
  absl::StatusOr<int64_t> NumberCapture() ACCRUE_EXCLUDES(mutex_);
  // A capture has failed. True: that is why, and another follows that record.
  bool ContinueBehindRefused() ACCRUE_EXCLUDES(mutex_);
  // Captures again, once it has failed and that record is written.
  void CaptureBehindRefused() ACCRUE_EXCLUDES(mutex_);
  // Once its checkpoint has been written, or could not be.
  void EndBegin(absl::StatusOr<CheckpointInfo> made, Done done);
  void OnBegun(const CheckpointInfo& made);

  int64_t NextNumber();
  void AppendToJournal(Change change, Done done);
  // Not OK: the journal has outgrown its bounds.
  absl::Status CheckRoom() const;
  CheckpointTarget Target(std::function<absl::StatusOr<int64_t>()> lsn) const;
  // Whether anything has happened since the newest checkpoint.
  bool Changed() const ACCRUE_REQUIRES(mutex_);
  void Capture();
  void OnCheckpoint(absl::StatusOr<CheckpointInfo> made);
  // What the newest checkpoint makes needless.
  void Retire() ACCRUE_EXCLUDES(retiring_, mutex_);
  std::set<std::string> Pinned() const;
  // Whether there are so many updates since the newest that one comes by
  // itself; but while one is made, there is none.
  bool IsDue() const ACCRUE_REQUIRES(mutex_);
  void CheckpointSoon();
  void ArmTimer() ACCRUE_EXCLUDES(mutex_);
  absl::Status Closed() const;
  // An error about this model.
  absl::Status Refuse(absl::StatusCode code, Reason reason,
                      absl::string_view why) const;

  const std::shared_ptr<const DurabilityEnvironment> shared_environment_;
  const DurabilityEnvironment& environment_;
  const std::weak_ptr<Model> model_;
  const std::string name_;
  const ModelSpec spec_;
  const std::shared_ptr<const Layout> layout_;
  const std::string directory_;
  const std::string instance_;
  const WorkPool::Lane lane_;
  const int64_t journal_limit_bytes_;
  const std::shared_ptr<Journal> journal_;

  // Null: JOURNAL. Noted by the executor, and by a beginning that it waits for:
  // never under the lock, since it may have to wait for the disk.
  const std::unique_ptr<Progress> progress_;

  Mutex retiring_;  // held while the disk is waited for
  mutable Mutex mutex_;
  CheckpointInfo newest_ ACCRUE_GUARDED_BY(mutex_);
  int64_t last_number_ ACCRUE_GUARDED_BY(mutex_);  // MEMORY: a checkpoint's
  // Beginnings whose checkpoints may still be there.
  std::vector<int64_t> refused_ ACCRUE_GUARDED_BY(mutex_);
  // What the checkpoint that is being made waits for; else nothing.
  std::optional<BehindRefused> behind_refused_ ACCRUE_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<const std::string>> pins_ ACCRUE_GUARDED_BY(mutex_);
  // As last noted.
  Version version_ ACCRUE_GUARDED_BY(mutex_);
  int64_t folded_pushes_ ACCRUE_GUARDED_BY(mutex_) = 0;
  // MEMORY: beside those, since a capture began.
  bool changed_ ACCRUE_GUARDED_BY(mutex_) = false;
  bool closed_ ACCRUE_GUARDED_BY(mutex_) = false;
  // CheckpointLast has succeeded.
  bool clean_ ACCRUE_GUARDED_BY(mutex_) = false;
  absl::Time not_before_ ACCRUE_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool checkpointing_ ACCRUE_GUARDED_BY(mutex_) = false;
  // Who waits for the one that is being made, and for the one after it.
  std::vector<CheckpointDone> waiting_ ACCRUE_GUARDED_BY(mutex_);
  std::vector<CheckpointDone> next_ ACCRUE_GUARDED_BY(mutex_);
  TimerId timer_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_MODEL_LOG_H_
