#include "server/durability/recovery.h"

#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/base/fail_point.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/durability/change_record.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_files.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/journal_format.h"
#include "server/durability/journal_reader.h"

namespace accrue {
namespace {

// Calls start(done) and waits for what done is given: the pool's work, and so
// not on one of its threads.
template <typename T, typename Start>
T Await(Start start) {
  std::promise<T> promise;
  start([&promise](T value) { promise.set_value(std::move(value)); });
  return promise.get_future().get();
}

// A model that has no checkpoint was never created; unless there are records in
// its journal.
absl::Status RemoveUnfinished(FileSystem& files, const std::string& directory) {
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> entries,
                          files.List(directory));
  for (const std::string& entry : entries) {
    const std::string path = absl::StrCat(directory, "/", entry);
    const std::optional<int64_t> lsn = journal::LsnOfName(entry);
    if (entry == kProgressFile || entry == kEndFile ||
        entry == journal::kUnfinishedName) {
      continue;
    }
    if (!lsn.has_value()) {
      return absl::DataLossError(
          absl::StrCat("there is \"", path, "\", but no checkpoint"));
    }
    ACCRUE_ASSIGN_OR_RETURN(const auto file, files.Open(path));
    if (*lsn > 1 || file->size_bytes() > journal::kRecordsBegin) {
      return absl::DataLossError(
          absl::StrCat("there is \"", path, "\", but no checkpoint"));
    }
  }
  return files.RemoveDirectory(directory);
}

// Of a MEMORY model, whose process has not ended in order.
struct Loss {
  // Answered, as far as is known; nothing: nobody knows how many.
  std::optional<int64_t> pushes;
  bool certain = false;  // not more than these

  std::string Text() const {
    if (!pushes.has_value()) return "an unknown number";
    return absl::StrCat(certain ? "" : "at least ", *pushes);
  }
};

// Nothing: its process ended in order, and all is there. Otherwise there may be
// more than pushes that somebody still knows of: a version, or a session and
// with it the fate of a push on its way.
absl::StatusOr<std::optional<Loss>> FindLoss(FileSystem& files,
                                             const std::string& directory,
                                             const TrainingState& state) {
  ACCRUE_ASSIGN_OR_RETURN(const std::optional<Progress::Facts> seen,
                          Progress::Read(files, directory));
  if (!seen.has_value()) return Loss();
  if (seen->clean && seen->version == *state.version &&
      seen->folded_pushes == state.folded_pushes) {
    return std::optional<Loss>();
  }
  return Loss{
      .pushes = std::max<int64_t>(seen->folded_pushes - state.folded_pushes, 0),
      .certain = !seen->rebooted};
}

// The lineage goes on, unless something may be missing.
absl::Status TakeVersion(FileSystem& files, const std::string& directory,
                         const ModelSpec& spec, StoredModel& stored) {
  const TrainingState& state = stored.source->state();
  if (!state.version.has_value()) return absl::OkStatus();
  stored.version = *state.version;
  if (spec.durability == Durability::kJournal) return absl::OkStatus();
  ACCRUE_ASSIGN_OR_RETURN(const std::optional<Loss> loss,
                          FindLoss(files, directory, state));
  if (!loss.has_value()) return absl::OkStatus();
  stored.version.lineage = RandomId();
  stored.lost_pushes = loss->pushes.value_or(0);
  stored.loss_uncertain = !loss->certain;
  ACCRUE_LOG(warn,
             "model \"{}\": restarted from t={} (version {}) of lineage {}; "
             "acknowledged pushes after it are lost: {}",
             spec.name, state.folded_pushes, state.version->number,
             state.version->lineage, loss->Text());
  return absl::OkStatus();
}

absl::StatusOr<JournalReader> OpenJournal(FileSystem& files,
                                          const std::string& directory,
                                          const std::string& instance,
                                          int64_t from_lsn) {
  absl::StatusOr<JournalReader> opened =
      JournalReader::Open({.files = &files,
                           .directory = directory,
                           .id = instance,
                           .from_lsn = from_lsn});
  // It was there before the first checkpoint was.
  if (absl::IsNotFound(opened.status())) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                     opened.status().message());
  }
  return opened;
}

// The newest that counts; those that are newer are removed. `names`: newest
// first.
absl::StatusOr<std::shared_ptr<const CheckpointReader>> FindCheckpoint(
    FileSystem& files, const std::string& directory,
    const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    ACCRUE_ASSIGN_OR_RETURN(
        std::shared_ptr<const CheckpointReader> checkpoint,
        CheckpointReader::Open(files, absl::StrCat(directory, "/", name)));
    ACCRUE_ASSIGN_OR_RETURN(
        const bool counts,
        CheckpointCounts(files, directory, checkpoint->manifest()));
    if (counts) return checkpoint;
    ACCRUE_LOG(warn, "\"{}\": the model never began with it, it is removed",
               checkpoint->path());
    ACCRUE_RETURN_IF_ERROR(RemoveCheckpoint(files, directory, name));
  }
  return absl::DataLossError(
      absl::StrCat("of no checkpoint in \"", directory,
                   "\" the journal says that it counts"));
}

absl::Status ReplayRecord(JournalRecord record, Model& model) {
  const std::string where =
      absl::StrCat("journal record ", record.lsn, " in ", record.place);
  ACCRUE_ASSIGN_OR_RETURN(
      std::optional<Change> change,
      DecodeChange(std::move(record), model.spec(), *model.layout()));
  // The number of a beginning that never was: one that was is refused above.
  if (!change.has_value()) return absl::OkStatus();
  absl::Status made = Await<absl::Status>(
      [&](auto done) { model.Replay(*std::move(change), std::move(done)); });
  if (!absl::IsDataLoss(made)) return made;
  return absl::DataLossError(absl::StrCat(where, ": ", made.message()));
}

// Makes what the journal has behind the checkpoint again. Returns the number of
// the record to come.
absl::StatusOr<int64_t> ReplayJournal(const ModelLog::Options& log) {
  ACCRUE_ASSIGN_OR_RETURN(JournalReader reader,
                          OpenJournal(*log.environment->files, log.directory,
                                      log.instance, log.newest.next_lsn));
  while (true) {
    ACCRUE_ASSIGN_OR_RETURN(std::optional<JournalRecord> record, reader.Next());
    if (!record.has_value()) break;
    ACCRUE_RETURN_IF_ERROR(ReplayRecord(*std::move(record), *log.model));
    AtFailPoint(FailPoint::kRecoveryHalfReplayed);
  }
  if (reader.torn_bytes() > 0) {
    ACCRUE_LOG(info,
               "model \"{}\": {} bytes of an unfinished write are cut off",
               log.model->name(), reader.torn_bytes());
  }
  ACCRUE_RETURN_IF_ERROR(reader.Settle());
  return reader.next_lsn();
}

// A model on its way from one of its checkpoints.
struct Revival {
  std::shared_ptr<const CheckpointReader> checkpoint;
  Manifest manifest;  // what the first of its new checkpoints will say
  ModelLog::Options log;
};

// All but its state.
absl::Status BeginRevival(ModelStore& store, Revival& revival) {
  ModelLog::Options& log = revival.log;
  const Manifest& stored = revival.checkpoint->manifest();
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> entries,
                          log.environment->files->List(log.directory));
  // Behind all that there is: nothing of it is replaced.
  int64_t lsn = 0;
  for (const std::string& entry : entries) {
    lsn = std::max({lsn, ParseCheckpointName(entry).value_or(0),
                    journal::LsnOfName(entry).value_or(0)});
  }
  log.instance = RandomId();
  ACCRUE_ASSIGN_OR_RETURN(log.model, store.MakeAgain(stored.spec));
  Manifest& manifest = revival.manifest;
  manifest = stored;
  manifest.instance = log.instance;
  manifest.lsn = ++lsn;
  manifest.made_at_unix_nanos = absl::ToUnixNanos(absl::Now());
  // Its journal is new: it has nothing to say about it.
  manifest.state.is_beginning = false;
  manifest.state.sessions.clear();
  if (manifest.state.version.has_value()) {
    manifest.state.version->lineage = RandomId();
  }
  return absl::OkStatus();
}

// Its files, once it has its state. The checkpoint comes last of what may fail.
absl::Status WriteRevived(Revival& revival) {
  ModelLog::Options& log = revival.log;
  ACCRUE_RETURN_IF_ERROR(OpenFiles(revival.manifest.lsn + 1, log));
  ACCRUE_ASSIGN_OR_RETURN(
      const auto made,
      CheckpointFiles::Create(log.environment->files, log.directory));
  ACCRUE_RETURN_IF_ERROR(
      made->Link(revival.checkpoint->path(), revival.checkpoint->manifest()));
  ACCRUE_RETURN_IF_ERROR(made->Commit(revival.manifest));
  log.newest = InfoOf(revival.manifest);
  return absl::OkStatus();
}

// What it has left, once it is refused. The checkpoint goes first: it would be
// a damaged one without its journal.
absl::Status RemoveRevived(const Revival& revival) {
  FileSystem& files = *revival.log.environment->files;
  const std::string& directory = revival.log.directory;
  const int64_t lsn = revival.manifest.lsn;
  absl::Status removed =
      RemoveCheckpoint(files, directory, CheckpointName(lsn));
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  // It may have had its name for a moment.
  ACCRUE_RETURN_IF_ERROR(files.SyncDirectory(directory));
  removed =
      files.Remove(absl::StrCat(directory, "/", journal::SegmentName(lsn + 1)));
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

absl::Status EndRevival(Revival& revival) {
  absl::Status written = WriteRevived(revival);
  if (!written.ok()) {
    if (absl::Status removed = RemoveRevived(revival); !removed.ok()) {
      ACCRUE_LOG(warn, "what is left of a restore that failed stays: {}",
                 removed.message());
    }
    return written;
  }
  // Not before: older checkpoints lack what it says.
  if (absl::Status begun = BeginProgress(revival.log); !begun.ok()) {
    ACCRUE_LOG(warn,
               "model \"{}\": a restart may count what is given up as lost: {}",
               revival.manifest.spec.name, begun.message());
  }
  return written;
}

}  // namespace

// A beginning counts if the journal says so behind it; else it was refused, or
// cut short.
absl::StatusOr<bool> CheckpointCounts(FileSystem& files,
                                      const std::string& directory,
                                      const Manifest& manifest) {
  if (!manifest.state.is_beginning ||
      manifest.spec.durability != Durability::kJournal) {
    return true;
  }
  ACCRUE_ASSIGN_OR_RETURN(
      JournalReader reader,
      OpenJournal(files, directory, manifest.instance, manifest.lsn + 1));
  ACCRUE_ASSIGN_OR_RETURN(const auto record, reader.Next());
  return record.has_value() && IsBegun(*record);
}

absl::StatusOr<ModelLog::Options> RecoverModel(
    std::shared_ptr<const DurabilityEnvironment> environment,
    const std::string& directory, const std::string& name, ModelStore& store) {
  FileSystem& files = *environment->files;
  ModelLog::Options log;
  if (absl::Status left = RemoveLeftovers(files, directory); !left.ok()) {
    ACCRUE_LOG(warn, "what is no checkpoint stays: {}", left.message());
  }
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints,
                          ListCheckpoints(files, directory));
  if (checkpoints.empty()) {
    ACCRUE_RETURN_IF_ERROR(RemoveUnfinished(files, directory));
    return log;
  }
  ACCRUE_ASSIGN_OR_RETURN(
      const std::shared_ptr<const CheckpointReader> checkpoint,
      FindCheckpoint(files, directory, checkpoints));
  const ModelSpec& spec = checkpoint->manifest().spec;
  if (spec.name != name) {
    return absl::DataLossError(
        absl::StrCat("\"", directory, "\" is of model \"", spec.name, "\""));
  }
  log.environment = std::move(environment);
  log.directory = directory;
  log.instance = checkpoint->manifest().instance;
  log.newest = InfoOf(checkpoint->manifest());
  StoredModel stored{.source = checkpoint, .version = {}};
  ACCRUE_RETURN_IF_ERROR(TakeVersion(files, directory, spec, stored));
  ACCRUE_ASSIGN_OR_RETURN(log.model, store.MakeAgain(spec));
  ACCRUE_RETURN_IF_ERROR(Await<absl::Status>([&](auto done) {
    log.model->Restore(std::move(stored), std::move(done));
  }));
  int64_t next_lsn = log.newest.next_lsn;
  if (spec.durability == Durability::kJournal) {
    ACCRUE_ASSIGN_OR_RETURN(next_lsn, ReplayJournal(log));
  }
  ACCRUE_RETURN_IF_ERROR(OpenFiles(next_lsn, log));
  return log;
}

void ReviveModel(std::shared_ptr<const DurabilityEnvironment> environment,
                 const std::string& directory,
                 std::shared_ptr<const CheckpointReader> checkpoint,
                 ModelStore& store, ReviveDone done) {
  const auto revival = std::make_shared<Revival>();
  revival->checkpoint = std::move(checkpoint);
  revival->log.environment = std::move(environment);
  revival->log.directory = directory;
  if (absl::Status begun = BeginRevival(store, *revival); !begun.ok()) {
    return done(std::move(begun));
  }
  StoredModel from{.source = revival->checkpoint, .version = {}};
  if (const auto& version = revival->manifest.state.version) {
    from.version = *version;
  }
  WorkPool* const pool = revival->log.environment->pool;
  const auto end = [revival, pool,
                    done = std::move(done)](absl::Status restored) {
    pool->Post(pool->NewLane(),
               [revival, done, restored = std::move(restored)]() mutable {
                 const WorkPool::Waiting waiting;
                 if (restored.ok()) restored = EndRevival(*revival);
                 if (restored.ok()) return done(std::move(revival->log));
                 // Its memory is given back before anybody hears of it.
                 revival->log.model.reset();
                 done(std::move(restored));
               });
  };
  revival->log.model->Restore(std::move(from), end);
}

absl::StatusOr<CheckpointInfo> WriteEmpty(const ModelLog::Options& log) {
  Manifest manifest;
  manifest.instance = log.instance;
  manifest.made_at_unix_nanos = absl::ToUnixNanos(absl::Now());
  manifest.spec = log.model->spec();
  for (const rule::RuleSpec& rule : GroupRules(manifest.spec)) {
    GroupState group;
    group.hyper = rule.hyper;
    group.k = rule.k;
    group.update_every = rule.update_every;
    manifest.state.groups.push_back(group);
  }
  // Here, not on the pool: whose threads may all be here.
  ACCRUE_ASSIGN_OR_RETURN(
      const auto files,
      CheckpointFiles::Create(log.environment->files, log.directory));
  ACCRUE_RETURN_IF_ERROR(files->Commit(manifest));
  return InfoOf(manifest);
}

absl::Status OpenFiles(int64_t next_lsn, ModelLog::Options& log) {
  const DurabilityEnvironment& environment = *log.environment;
  if (log.model->spec().durability == Durability::kJournal) {
    ACCRUE_ASSIGN_OR_RETURN(
        log.journal,
        Journal::Open(
            {.files = environment.files,
             .pool = environment.pool,
             .directory = log.directory,
             .id = log.instance,
             .next_lsn = next_lsn,
             .segment_bytes = environment.options.journal_segment_bytes}));
    return absl::OkStatus();
  }
  ACCRUE_ASSIGN_OR_RETURN(log.progress,
                          Progress::Open(*environment.files, log.directory));
  return absl::OkStatus();
}

absl::Status BeginProgress(const ModelLog::Options& log) {
  const ModelDescription model = log.model->Describe();
  if (log.progress == nullptr || !model.version.has_value()) {
    return absl::OkStatus();
  }
  return log.progress->Begin(*model.version, model.folded_pushes);
}

void TakeBackProgress(const ModelLog::Options& log) {
  if (log.progress == nullptr || !log.model->Describe().version.has_value()) {
    return;
  }
  log.progress->TakeBack();
}

}  // namespace accrue
