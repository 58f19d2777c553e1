// How DataDirectory takes models back to their checkpoints.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/data_directory.h"
#include "server/durability/data_errors.h"
#include "server/durability/recovery.h"

namespace accrue {
namespace {

// Why `checkpoint` is not restored unless it is named.
absl::Status Untold(const absl::Status& why, const std::string& model,
                    const std::string& checkpoint) {
  ErrorInfo info = GetErrorInfo(why);
  info.subject = model;
  return MakeError(
      why.code(), info,
      absl::StrCat("model \"", model, "\": nothing tells whether ", checkpoint,
                   " is sound: ", why.message(),
                   "; name a checkpoint to restore that all the same"));
}

// One that stays as long as it is read, whatever is checkpointed meanwhile.
struct PinnedCheckpoint {
  std::shared_ptr<const std::string> pin;
  std::unique_ptr<const CheckpointReader> reader;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> DataDirectory::CheckpointNames(
    const Kept& kept) const {
  ACCRUE_ASSIGN_OR_RETURN(
      std::vector<std::string> names,
      ListCheckpoints(*environment_->files, kept.directory));
  if (kept.log == nullptr) {
    std::erase_if(names, [&](const std::string& name) {
      const absl::StatusOr<bool> counts = Counts(kept.directory, name);
      return counts.ok() && !*counts;
    });
    return names;
  }
  const int64_t newest = kept.log->newest().lsn;
  std::erase_if(names, [newest](const std::string& name) {
    return *ParseCheckpointName(name) > newest;
  });
  return names;
}

absl::StatusOr<bool> DataDirectory::Counts(
    const std::string& directory, const std::string& checkpoint) const {
  FileSystem& files = *environment_->files;
  ACCRUE_ASSIGN_OR_RETURN(
      const Manifest manifest,
      ReadManifest(files, absl::StrCat(directory, "/", checkpoint)));
  return CheckpointCounts(files, directory, manifest);
}

absl::StatusOr<std::vector<CheckpointInfo>> DataDirectory::Checkpoints(
    const std::string& name) const {
  FileSystem& files = *environment_->files;
  ACCRUE_ASSIGN_OR_RETURN(const Kept kept, FindKept(name));
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          CheckpointNames(kept));
  std::vector<CheckpointInfo> infos;
  for (const std::string& checkpoint : names) {
    const auto manifest =
        ReadManifest(files, absl::StrCat(kept.directory, "/", checkpoint));
    if (manifest.ok()) infos.push_back(InfoOf(*manifest));
  }
  return infos;
}

absl::StatusOr<std::shared_ptr<const CheckpointReader>>
DataDirectory::OpenCheckpoint(const std::string& name,
                              const std::string& checkpoint) const {
  FileSystem& files = *environment_->files;
  ACCRUE_ASSIGN_OR_RETURN(const Kept kept, FindKept(name));
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          CheckpointNames(kept));
  const auto found = checkpoint.empty()
                         ? names.begin()
                         : std::find(names.begin(), names.end(), checkpoint);
  if (found == names.end()) {
    ErrorInfo info;
    info.reason = Reason::kCheckpointUnknown;
    info.subject = name;
    return MakeError(absl::StatusCode::kNotFound, info,
                     absl::StrCat("model \"", name, "\" has no checkpoint",
                                  checkpoint.empty() ? "" : " \"", checkpoint,
                                  checkpoint.empty() ? "" : "\""));
  }
  if (checkpoint.empty() && kept.log == nullptr) {
    const absl::Status told = Counts(kept.directory, *found).status();
    if (!told.ok()) return Untold(told, name, *found);
  }
  auto pinned = std::make_shared<PinnedCheckpoint>();
  if (kept.log != nullptr) pinned->pin = kept.log->Pin(*found);
  ACCRUE_ASSIGN_OR_RETURN(
      pinned->reader,
      CheckpointReader::Open(files, absl::StrCat(kept.directory, "/", *found)));
  ACCRUE_RETURN_IF_ERROR(pinned->reader->Verify());
  return std::shared_ptr<const CheckpointReader>(pinned, pinned->reader.get());
}

void DataDirectory::Restore(const std::string& name,
                            const std::string& checkpoint, ModelStore& store,
                            RestoreDone done) {
  const auto found = store.Find(name);
  if (absl::IsNotFound(found.status())) return done(found.status());
  auto reader = OpenCheckpoint(name, checkpoint);
  if (!reader.ok()) return done(WithReason(reader.status(), name));
  if (!found.ok()) {
    return Revive(name, *std::move(reader), store, std::move(done));
  }
  const std::shared_ptr<Model>& model = *found;
  const std::string other =
      SpecDifference((*reader)->manifest().spec, model->spec());
  if (!other.empty()) {
    return done(Damaged(
        absl::DataLossError(absl::StrCat("\"", (*reader)->path(),
                                         "\" is of another spec, at ", other)),
        name));
  }
  model->GoBack(
      *std::move(reader),
      [model, done = std::move(done)](const absl::StatusOr<Version>& version) {
        if (version.ok()) return done(model);
        done(version.status());
      });
}

void DataDirectory::Revive(const std::string& name,
                           std::shared_ptr<const CheckpointReader> checkpoint,
                           ModelStore& store, RestoreDone done) {
  if (absl::Status begun = BeginChange(name); !begun.ok()) return done(begun);
  const RestoreDone end =
      [this, name, done = std::move(done)](
          const absl::StatusOr<std::shared_ptr<Model>>& model) {
        EndChange(name);
        done(model);
      };
  // Another call may just have ended: it is there, from what that call wanted,
  // or gone.
  if (store.Find(name).ok()) return end(BeingChanged(name));
  const absl::StatusOr<Kept> kept = FindKept(name);
  if (!kept.ok()) return end(kept.status());
  if (!kept->gone.empty()) return end(Unknown(name));
  const std::string from = checkpoint->path();
  if (const std::string& of = checkpoint->manifest().spec.name; of != name) {
    return end(Damaged(absl::DataLossError(absl::StrCat(
                           "\"", from, "\" is of model \"", of, "\"")),
                       name));
  }
  ReviveModel(environment_, kept->directory, std::move(checkpoint), store,
              [this, name, from, &store,
               end](absl::StatusOr<ModelLog::Options> revived) {
                if (!revived.ok()) {
                  return end(WithReason(revived.status(), name));
                }
                ACCRUE_LOG(warn,
                           "model \"{}\": restored from {}; what its files "
                           "have beyond that is given up",
                           name, from);
                end(TakeUp(*std::move(revived), store));
              });
}

absl::StatusOr<std::shared_ptr<Model>> DataDirectory::TakeUp(
    ModelLog::Options revived, ModelStore& store) {
  const std::shared_ptr<Model> model = revived.model;
  const std::string directory = revived.directory;
  model->Attach(AddLog(std::move(revived)));
  if (absl::Status adopted = store.Adopt(model); !adopted.ok()) {
    // The next start takes it up.
    Note(model->name(), {.directory = directory, .log = nullptr});
    return adopted;
  }
  return model;
}

}  // namespace accrue
