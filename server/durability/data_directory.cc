#include "server/durability/data_directory.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/import_source.h"
#include "server/durability/recovery.h"

namespace accrue {
namespace {

// No model's name begins so.
constexpr char kTemporaryPrefix[] = ".tmp-";

absl::Status Unwritable(const absl::Status& why, const std::string& model) {
  ErrorInfo info;
  info.reason = Reason::kCheckpointFailed;
  info.subject = model;
  return MakeError(absl::StatusCode::kUnavailable, info,
                   absl::StrCat("model \"", model, "\": ", why.message()));
}

absl::Status Damaged(const absl::Status& why, const std::string& model) {
  ErrorInfo info;
  info.reason = Reason::kDamaged;
  info.subject = model;
  return MakeError(
      absl::StatusCode::kDataLoss, info,
      absl::StrCat("model \"", model, "\" is damaged: ", why.message(),
                   "; restore it from one of its checkpoints, or delete it"));
}

absl::Status MakeDirectory(FileSystem& files, const std::string& path) {
  absl::Status made = files.CreateDirectory(path);
  if (absl::IsAlreadyExists(made)) return absl::OkStatus();
  return made;
}

std::string ParentOf(const std::string& path) {
  const std::filesystem::path whole(path);
  // Without a name behind its last slash.
  const std::filesystem::path named =
      whole.has_filename() ? whole : whole.parent_path();
  const std::string parent = named.parent_path();
  return parent.empty() ? "." : parent;
}

}  // namespace

DataDirectory::DataDirectory(DurabilityEnvironment environment)
    : environment_(std::make_shared<const DurabilityEnvironment>(
          std::move(environment))),
      models_(absl::StrCat(environment_->options.data_dir, "/models")) {}

absl::Status DataDirectory::Open() {
  FileSystem& files = *environment_->files;
  const std::string& path = environment_->options.data_dir;
  ACCRUE_RETURN_IF_ERROR(MakeDirectory(files, path));
  // Its own name, too: without it nothing in it is found again.
  ACCRUE_RETURN_IF_ERROR(files.SyncDirectory(ParentOf(path)));
  ACCRUE_ASSIGN_OR_RETURN(lock_, files.Lock(path));
  ACCRUE_RETURN_IF_ERROR(MakeDirectory(files, models_));
  ACCRUE_RETURN_IF_ERROR(MakeDirectory(files, absl::StrCat(path, "/import")));
  return files.SyncDirectory(path);
}

std::string DataDirectory::DirectoryOf(const std::string& model) const {
  return absl::StrCat(models_, "/", model);
}

absl::Status DataDirectory::Recover(ModelStore& store) {
  FileSystem& files = *environment_->files;
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          files.List(models_));
  for (const std::string& name : names) {
    if (absl::StartsWith(name, kTemporaryPrefix)) {
      ACCRUE_RETURN_IF_ERROR(files.RemoveDirectory(DirectoryOf(name)));
      continue;
    }
    absl::StatusOr<ModelLog::Options> recovered =
        RecoverModel(environment_, DirectoryOf(name), name, store);
    if (absl::IsDataLoss(recovered.status())) {
      const absl::Status damaged = Damaged(recovered.status(), name);
      ACCRUE_LOG(error, "{}", damaged.message());
      store.Miss(name, damaged);
      continue;
    }
    ACCRUE_RETURN_IF_ERROR(recovered.status());
    const std::shared_ptr<Model> model = recovered->model;
    if (model == nullptr) continue;  // it never came to be
    model->Attach(AddLog(*std::move(recovered)));
    store.Adopt(model);
  }
  return absl::OkStatus();
}

std::shared_ptr<ModelLog> DataDirectory::AddLog(ModelLog::Options options) {
  const std::string name = options.model->name();
  auto log = std::make_shared<ModelLog>(std::move(options));
  log->Start();
  MutexLock lock(&mutex_);
  logs_[name] = log;
  return log;
}

absl::StatusOr<std::shared_ptr<CommitLog>> DataDirectory::Keep(
    const std::shared_ptr<Model>& model) {
  FileSystem& files = *environment_->files;
  ModelLog::Options options;
  options.environment = environment_;
  options.model = model;
  options.directory = DirectoryOf(model->name());
  options.instance = RandomId();
  // Not what another has put there.
  absl::Status made = files.CreateDirectory(options.directory);
  if (!made.ok()) return Unwritable(made, model->name());
  const auto keep = [&]() -> absl::Status {
    ACCRUE_RETURN_IF_ERROR(OpenFiles(1, options));
    // From now on it is there.
    ACCRUE_ASSIGN_OR_RETURN(options.newest, WriteEmpty(options));
    return files.SyncDirectory(models_);
  };
  if (absl::Status kept = keep(); !kept.ok()) {
    files.RemoveDirectory(options.directory).IgnoreError();
    return Unwritable(kept, model->name());
  }
  return AddLog(std::move(options));
}

absl::Status DataDirectory::Forget(const std::string& name) {
  FileSystem& files = *environment_->files;
  const std::string gone =
      absl::StrCat(models_, "/", kTemporaryPrefix, RandomId());
  absl::Status renamed = files.Rename(DirectoryOf(name), gone);
  if (absl::IsNotFound(renamed)) return absl::OkStatus();
  if (renamed.ok()) renamed = files.SyncDirectory(models_);
  if (!renamed.ok()) return Unwritable(renamed, name);
  {
    MutexLock lock(&mutex_);
    const auto found = logs_.find(name);
    if (found != logs_.end()) {
      found->second->Close();
      logs_.erase(found);
    }
  }
  // What cannot be removed now is removed when the next process begins.
  if (absl::Status removed = files.RemoveDirectory(gone); !removed.ok()) {
    ACCRUE_LOG(warn, "model \"{}\" is deleted, its files are not yet: {}", name,
               removed.message());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ModelLog>> DataDirectory::Find(
    const std::string& name) const {
  MutexLock lock(&mutex_);
  const auto found = logs_.find(name);
  if (found != logs_.end()) return found->second;
  ErrorInfo info;
  info.reason = Reason::kModelUnknown;
  info.subject = name;
  return MakeError(absl::StatusCode::kNotFound, info,
                   absl::StrCat("no model \"", name, "\""));
}

absl::StatusOr<std::vector<CheckpointInfo>> DataDirectory::Checkpoints(
    const std::string& name) const {
  FileSystem& files = *environment_->files;
  const std::string directory = DirectoryOf(name);
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListCheckpoints(files, directory));
  std::vector<CheckpointInfo> infos;
  for (const std::string& checkpoint : names) {
    const auto manifest =
        ReadManifest(files, absl::StrCat(directory, "/", checkpoint));
    if (manifest.ok()) infos.push_back(InfoOf(*manifest));
  }
  return infos;
}

absl::StatusOr<std::shared_ptr<const CheckpointReader>>
DataDirectory::OpenCheckpoint(const std::string& name,
                              const std::string& checkpoint) const {
  FileSystem& files = *environment_->files;
  const std::string directory = DirectoryOf(name);
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          ListCheckpoints(files, directory));
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
  ACCRUE_ASSIGN_OR_RETURN(
      auto reader,
      CheckpointReader::Open(files, absl::StrCat(directory, "/", *found)));
  ACCRUE_RETURN_IF_ERROR(reader->Verify());
  return std::shared_ptr<const CheckpointReader>(std::move(reader));
}

void DataDirectory::Restore(const std::string& name,
                            const std::string& checkpoint, ModelStore& store,
                            RestoreDone done) {
  const auto found = store.Find(name);
  if (!found.ok() && !absl::IsDataLoss(found.status())) {
    return done(found.status());
  }
  auto reader = OpenCheckpoint(name, checkpoint);
  if (!reader.ok()) return done(reader.status());
  if (!found.ok()) return done(Revive(name, *std::move(reader), store));
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

absl::StatusOr<std::shared_ptr<Model>> DataDirectory::Revive(
    const std::string& name, std::shared_ptr<const CheckpointReader> checkpoint,
    ModelStore& store) {
  // One at a time; who comes second finds it there.
  MutexLock lock(&reviving_);
  if (auto found = store.Find(name); found.ok()) return found;
  if (checkpoint->manifest().spec.name != name) {
    return Damaged(absl::DataLossError(absl::StrCat(
                       "\"", checkpoint->path(), "\" is of model \"",
                       checkpoint->manifest().spec.name, "\"")),
                   name);
  }
  ACCRUE_ASSIGN_OR_RETURN(ModelLog::Options log,
                          ReviveModel(environment_, DirectoryOf(name),
                                      std::move(checkpoint), store));
  const std::shared_ptr<Model> model = log.model;
  model->Attach(AddLog(std::move(log)));
  store.Adopt(model);
  return model;
}

absl::StatusOr<std::shared_ptr<const StateSource>> DataDirectory::OpenImport(
    const std::string& file, const ModelSpec& spec) const {
  return ImportSource::Open(
      *environment_->files,
      absl::StrCat(environment_->options.data_dir, "/import"), file, spec);
}

void DataDirectory::CheckpointAll(std::function<void()> done) {
  std::vector<std::shared_ptr<ModelLog>> logs;
  {
    MutexLock lock(&mutex_);
    for (const auto& [name, log] : logs_) logs.push_back(log);
  }
  // One part more, so that `done` also runs where there are none.
  auto left = std::make_shared<std::atomic<size_t>>(logs.size() + 1);
  const auto part = [left, done = std::move(done)] {
    if (left->fetch_sub(1) == 1) done();
  };
  for (const auto& log : logs) {
    log->CheckpointLast(
        [part](const absl::StatusOr<CheckpointInfo>&) { part(); });
  }
  part();
}

}  // namespace accrue
