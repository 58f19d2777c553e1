// DataDirectory: where a server's models are kept (--data_dir), one process at
// a time.
//
//   LOCK                     of the process that has it
//   models/NAME@ID/          a model's: checkpoint-LSN/, journal-LSN.log,
//                            progress (FORMAT.md). ID: random, of its own, so
//                            that what still works for a deleted model never
//                            meets the files of the next one of its name
//   models/.tmp-...          of one that is being deleted
//   import/                  safetensors files that models may begin with
//
// Order.     Open, Recover, Serve, then everything else, which waits for the
//            disk, but for Find and checkpoint_memory_waits; after Recover none
//            for the pool.
// Errors.    FAILED_PRECONDITION: it cannot be, or another process has it.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_DATA_DIRECTORY_H_
#define ACCRUE_SERVER_DURABILITY_DATA_DIRECTORY_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/durability_options.h"
#include "server/durability/model_log.h"
#include "server/model/model_keeper.h"
#include "server/model/model_store.h"

namespace accrue {

class DataDirectory : public ModelKeeper {
 public:
  explicit DataDirectory(DurabilityEnvironment environment);

  absl::Status Open();
  // Makes every model that is kept again, as it was; `store` is told of those
  // that cannot be made, and why, and the others are made all the same. Not OK:
  // the directory itself cannot be read.
  using Recovered = std::vector<ModelLog::Options>;
  absl::StatusOr<Recovered> Recover(ModelStore& store);
  // From now on `store` has them. A process that ends before it has changed
  // nothing: the next one finds all as this one did. CANCELLED: `stop` came
  // first, and so it will be.
  absl::Status Serve(Recovered models, ModelStore& store,
                     const std::atomic<bool>& stop);

  absl::StatusOr<std::shared_ptr<CommitLog>> Keep(
      const std::shared_ptr<Model>& model) override;
  absl::Status Forget(const std::string& name) override;
  absl::Status Erase(const std::string& name) override;

  // NOT_FOUND kModelUnknown; of a damaged one, too.
  absl::StatusOr<std::shared_ptr<ModelLog>> Find(const std::string& name) const;
  // Newest first; sound ones only. NOT_FOUND: no such model is kept.
  absl::StatusOr<std::vector<CheckpointInfo>> Checkpoints(
      const std::string& name) const;
  // Takes a model back to one of its checkpoints, all of which is looked at
  // first; `checkpoint` empty: the newest. One that was damaged or left out is
  // there again then. NOT_FOUND kModelUnknown, kCheckpointUnknown; UNAVAILABLE
  // kCheckpointFailed; without a reason: another call restores it from nothing,
  // or has just done so, or deletes it; kDraining: one that was left out may be
  // restored at the next start; else Model::GoBack's.
  using RestoreDone =
      std::function<void(absl::StatusOr<std::shared_ptr<Model>>)>;
  void Restore(const std::string& name, const std::string& checkpoint,
               ModelStore& store, RestoreDone done);
  // A file beneath import/, as a client names it: ImportSource::Open.
  absl::StatusOr<std::shared_ptr<const StateSource>> OpenImport(
      const std::string& file, const ModelSpec& spec) const;
  // Drains `store`. A model's last checkpoint is made as soon as it has
  // drained, whatever keeps the others. `drained` runs when all have; then
  // `done`, when their checkpoints are durable, or cannot be.
  void Drain(ModelStore& store, std::function<void()> drained,
             std::function<void()> done);
  // The models that a restart would not find as they are: under MEMORY, those
  // whose last checkpoint is not durable.
  std::vector<std::string> Unkept() const;
  CheckpointMemory::Waits checkpoint_memory_waits() const {
    return environment_->memory->waits();
  }

 private:
  // What there is of a model.
  struct Kept {
    std::string directory;          // path
    std::shared_ptr<ModelLog> log;  // null: it is damaged, or not there yet
    std::string gone = {};          // where it has been moved; empty: nowhere
  };

  void Note(const std::string& name, Kept kept);
  void LeaveOut(const std::string& name, const std::string& directory,
                const absl::Status& why, ModelStore& store);
  absl::StatusOr<Kept> FindKept(const std::string& name) const;
  // Newest first; without that of a beginning that was refused, or may yet be;
  // where nothing tells whether it was, with it.
  absl::StatusOr<std::vector<std::string>> CheckpointNames(
      const Kept& kept) const;
  // CheckpointCounts.
  absl::StatusOr<bool> Counts(const std::string& directory,
                              const std::string& checkpoint) const;
  absl::StatusOr<std::shared_ptr<const CheckpointReader>> OpenCheckpoint(
      const std::string& name, const std::string& checkpoint) const;
  void Revive(const std::string& name,
              std::shared_ptr<const CheckpointReader> checkpoint,
              ModelStore& store, RestoreDone done);
  absl::StatusOr<std::shared_ptr<Model>> TakeUp(ModelLog::Options revived,
                                                ModelStore& store);
  absl::Status MoveAway(const std::string& name);
  // UNAVAILABLE: another call has not ended its change.
  absl::Status BeginChange(const std::string& name);
  void EndChange(const std::string& name);
  std::shared_ptr<ModelLog> AddLog(ModelLog::Options options);

  const std::shared_ptr<const DurabilityEnvironment> environment_;
  const std::string models_;  // path
  std::unique_ptr<DirectoryLock> lock_;
  mutable Mutex mutex_;
  // Names of models that are being revived, or go. No lock is held meanwhile:
  // who is revived needs the pool, whose threads may all want to change some.
  std::set<std::string> changing_ ACCRUE_GUARDED_BY(mutex_);
  std::map<std::string, Kept> kept_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_DATA_DIRECTORY_H_
