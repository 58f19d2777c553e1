// Recovery: a model's files, from nothing to the model that they are of.
//
// Equation.  newest checkpoint + what the journal has behind it = the model,
//            bit for bit. Under MEMORY: the newest checkpoint; in a lineage of
//            its own, unless the process ended in order.
// Order.     functions wait for the disk; RecoverModel waits for the model's
//            executor, too: not on a thread of the pool, which that needs.
// Errors.    DATA_LOSS kDamaged: what was durable is not there as it was
//            written, in which file and where. Nothing is guessed or skipped.
//            Without a reason: the disk's. ModelStore::MakeAgain's.
#ifndef ACCRUE_SERVER_DURABILITY_RECOVERY_H_
#define ACCRUE_SERVER_DURABILITY_RECOVERY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/durability_options.h"
#include "server/durability/model_log.h"
#include "server/model/model.h"
#include "server/model/model_store.h"

namespace accrue {

// Whether what the checkpoint of that manifest holds ever was the model's
// state: a beginning that was refused was not. Not OK: its journal, which would
// know, cannot be read.
absl::StatusOr<bool> CheckpointCounts(FileSystem& files,
                                      const std::string& directory,
                                      const Manifest& manifest);

// The model that `directory` is of, made by `store`, and what its log is to be
// made of. No model: it never came to be, and nothing is left of it. Until
// BeginProgress it may be recovered any number of times, and is the same.
absl::StatusOr<ModelLog::Options> RecoverModel(
    std::shared_ptr<const DurabilityEnvironment> environment,
    const std::string& directory, const std::string& name, ModelStore& store);

// A damaged model, from one of its checkpoints alone: in a new lineage, without
// sessions, and with files of its own, which are durable before it is handed
// on. `done` runs here, or on the pool. Not OK: its directory is as it was; but
// where the disk fails at taking back what it has failed at, the next start may
// find the model restored.
using ReviveDone = std::function<void(absl::StatusOr<ModelLog::Options>)>;
void ReviveModel(std::shared_ptr<const DurabilityEnvironment> environment,
                 const std::string& directory,
                 std::shared_ptr<const CheckpointReader> checkpoint,
                 ModelStore& store, ReviveDone done);

// The first checkpoint of a new model, whose parameters are still to come.
absl::StatusOr<CheckpointInfo> WriteEmpty(const ModelLog::Options& log);

// Opens what a model's log writes: its journal, from record `next_lsn` on; or
// its progress.
absl::Status OpenFiles(int64_t next_lsn, ModelLog::Options& log);

// Under MEMORY: that the model goes on from here, and the end in order of the
// process before this one is over.
absl::Status BeginProgress(const ModelLog::Options& log);
// Progress::TakeBack.
void TakeBackProgress(const ModelLog::Options& log);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_RECOVERY_H_
