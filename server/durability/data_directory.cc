#include "server/durability/data_directory.h"

#include <atomic>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/data_errors.h"
#include "server/durability/import_source.h"
#include "server/durability/recovery.h"

namespace accrue {
namespace {

// No model's name begins so, or has the other in it.
constexpr char kTemporaryPrefix[] = ".tmp-";
constexpr char kBeforeId = '@';

absl::Status MakeDirectory(FileSystem& files, const std::string& path) {
  absl::Status made = files.CreateDirectory(path);
  if (absl::IsAlreadyExists(made)) return absl::OkStatus();
  return made;
}

// The model that a directory beneath models/ is of; none: it is no model's.
std::optional<std::string> ModelOfDirectory(absl::string_view name) {
  const size_t end = name.find(kBeforeId);
  if (end == absl::string_view::npos) return std::nullopt;
  const absl::string_view model = name.substr(0, end);
  if (!IsModelName(model)) return std::nullopt;
  return std::string(model);
}

// What cannot be removed now is removed when the next process begins.
void LogIfKept(const absl::Status& removed) {
  if (removed.ok()) return;
  ACCRUE_LOG(warn, "a deleted model's files are still there: {}",
             removed.message());
}

std::string ParentOf(const std::string& path) {
  const std::filesystem::path whole(path);
  // Without a name behind its last slash.
  const std::filesystem::path named =
      whole.has_filename() ? whole : whole.parent_path();
  const std::string parent = named.parent_path();
  return parent.empty() ? "." : parent;
}

// With its name, without which nothing in it is found again.
absl::Status MakeDurably(FileSystem& files, const std::string& path) {
  absl::Status made = files.CreateDirectory(path);
  if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
  const std::string parent = ParentOf(path);
  absl::Status named = files.SyncDirectory(parent);
  if (named.ok()) return named;
  if (made.ok()) {
    // Else the next start would find it, and not that it is new.
    files.RemoveDirectory(path).IgnoreError();
    return named;
  }
  // Where others' directories may be passed through, and not be read.
  if (!absl::IsFailedPrecondition(named)) return named;
  ACCRUE_LOG(warn,
             "\"{}\" was there already, and that it stays there is up to "
             "whoever made it: {}",
             path, named.message());
  return absl::OkStatus();
}

}  // namespace

DataDirectory::DataDirectory(DurabilityEnvironment environment)
    : environment_(std::make_shared<const DurabilityEnvironment>(
          std::move(environment))),
      models_(absl::StrCat(environment_->options.data_dir, "/models")) {}

absl::Status DataDirectory::Open() {
  FileSystem& files = *environment_->files;
  const std::string& path = environment_->options.data_dir;
  ACCRUE_RETURN_IF_ERROR(MakeDurably(files, path));
  ACCRUE_ASSIGN_OR_RETURN(lock_, files.Lock(path));
  ACCRUE_RETURN_IF_ERROR(MakeDirectory(files, models_));
  ACCRUE_RETURN_IF_ERROR(MakeDirectory(files, absl::StrCat(path, "/import")));
  return files.SyncDirectory(path);
}

absl::StatusOr<DataDirectory::Recovered> DataDirectory::Recover(
    ModelStore& store) {
  FileSystem& files = *environment_->files;
  Recovered models;
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> entries,
                          files.List(models_));
  for (const std::string& entry : entries) {
    const std::string path = absl::StrCat(models_, "/", entry);
    if (absl::StartsWith(entry, kTemporaryPrefix)) {
      // Else a power cut might leave the model's name, and not all of it.
      absl::Status removed = files.SyncDirectory(models_);
      if (removed.ok()) removed = files.RemoveDirectory(path);
      LogIfKept(removed);
      continue;
    }
    const std::optional<std::string> of = ModelOfDirectory(entry);
    if (!of.has_value()) {
      ACCRUE_LOG(warn, "\"{}\" is no model's, and is left alone", path);
      continue;
    }
    const std::string& name = *of;
    if (const auto other = FindKept(name); other.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "\"", other->directory, "\" and \"", path, "\" are both of model \"",
          name, "\"; move away the one that is a copy"));
    }
    absl::StatusOr<ModelLog::Options> made =
        RecoverModel(environment_, path, name, store);
    if (!made.ok()) {
      LeaveOut(name, path, made.status(), store);
      continue;
    }
    if (made->model == nullptr) continue;  // it never came to be
    Note(name, {.directory = path, .log = nullptr});
    models.push_back(*std::move(made));
  }
  return models;
}

absl::Status DataDirectory::Serve(Recovered models, ModelStore& store,
                                  const std::atomic<bool>& stop) {
  Recovered begun;
  for (ModelLog::Options& made : models) {
    if (stop) break;
    if (absl::Status status = BeginProgress(made); status.ok()) {
      begun.push_back(std::move(made));
    } else {
      LeaveOut(made.model->name(), made.directory, status, store);
    }
  }
  if (stop) {
    for (const ModelLog::Options& made : begun) TakeBackProgress(made);
    return absl::CancelledError("told to stop before its models were served");
  }
  for (ModelLog::Options& made : begun) {
    const std::shared_ptr<Model> model = made.model;
    model->Attach(AddLog(std::move(made)));
    ACCRUE_RETURN_IF_ERROR(store.Adopt(model));
  }
  return absl::OkStatus();
}

void DataDirectory::LeaveOut(const std::string& name,
                             const std::string& directory,
                             const absl::Status& why, ModelStore& store) {
  const absl::Status told = LeftOut(why, name);
  ACCRUE_LOG(error, "{}", told.message());
  store.Miss(name, told);
  Note(name, {.directory = directory, .log = nullptr});
}

std::shared_ptr<ModelLog> DataDirectory::AddLog(ModelLog::Options options) {
  const std::string name = options.model->name();
  auto log = std::make_shared<ModelLog>(std::move(options));
  log->Start();
  Note(name, {.directory = log->directory(), .log = log});
  return log;
}

void DataDirectory::Note(const std::string& name, Kept kept) {
  MutexLock lock(&mutex_);
  kept_[name] = std::move(kept);
}

absl::StatusOr<DataDirectory::Kept> DataDirectory::FindKept(
    const std::string& name) const {
  MutexLock lock(&mutex_);
  const auto found = kept_.find(name);
  if (found != kept_.end()) return found->second;
  return Unknown(name);
}

absl::Status DataDirectory::BeginChange(const std::string& name) {
  MutexLock lock(&mutex_);
  if (changing_.insert(name).second) return absl::OkStatus();
  return BeingChanged(name);
}

void DataDirectory::EndChange(const std::string& name) {
  MutexLock lock(&mutex_);
  changing_.erase(name);
}

absl::StatusOr<std::shared_ptr<CommitLog>> DataDirectory::Keep(
    const std::shared_ptr<Model>& model) {
  FileSystem& files = *environment_->files;
  const std::string& name = model->name();
  // What is left of one that could be neither kept nor removed.
  ACCRUE_RETURN_IF_ERROR(Forget(name));
  ACCRUE_RETURN_IF_ERROR(Erase(name));
  ModelLog::Options options;
  options.environment = environment_;
  options.model = model;
  options.directory =
      absl::StrCat(models_, "/", name, std::string(1, kBeforeId), RandomId());
  options.instance = RandomId();
  Note(name, {.directory = options.directory, .log = nullptr});
  const auto keep = [&]() -> absl::Status {
    ACCRUE_RETURN_IF_ERROR(files.CreateDirectory(options.directory));
    ACCRUE_RETURN_IF_ERROR(OpenFiles(1, options));
    // From now on it is there.
    ACCRUE_ASSIGN_OR_RETURN(options.newest, WriteEmpty(options));
    return files.SyncDirectory(models_);
  };
  if (absl::Status kept = keep(); !kept.ok()) {
    if (Forget(name).ok()) Erase(name).IgnoreError();
    return Unwritable(kept, name);
  }
  return AddLog(std::move(options));
}

// With its first change of the disk: whatever fails behind that, a power cut
// may leave nothing of what is done to the model afterwards.
absl::Status DataDirectory::Forget(const std::string& name) {
  ACCRUE_RETURN_IF_ERROR(BeginChange(name));
  absl::Status moved = MoveAway(name);
  EndChange(name);
  return moved;
}

absl::Status DataDirectory::MoveAway(const std::string& name) {
  auto kept = FindKept(name);
  if (!kept.ok() || !kept->gone.empty()) return absl::OkStatus();
  kept->gone = absl::StrCat(models_, "/", kTemporaryPrefix, RandomId());
  absl::Status moved = environment_->files->Rename(kept->directory, kept->gone);
  // It may never have been there.
  if (!moved.ok() && !absl::IsNotFound(moved)) return Unwritable(moved, name);
  if (kept->log != nullptr) kept->log->Close();
  kept->log = nullptr;
  Note(name, *std::move(kept));
  return absl::OkStatus();
}

absl::Status DataDirectory::Erase(const std::string& name) {
  const auto kept = FindKept(name);
  if (!kept.ok()) return absl::OkStatus();
  absl::Status synced = environment_->files->SyncDirectory(models_);
  if (!synced.ok()) return Unwritable(synced, name);
  {
    MutexLock lock(&mutex_);
    kept_.erase(name);
  }
  LogIfKept(environment_->files->RemoveDirectory(kept->gone));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ModelLog>> DataDirectory::Find(
    const std::string& name) const {
  ACCRUE_ASSIGN_OR_RETURN(Kept kept, FindKept(name));
  if (kept.log == nullptr) return Unknown(name);
  return std::move(kept.log);
}

absl::StatusOr<std::shared_ptr<const StateSource>> DataDirectory::OpenImport(
    const std::string& file, const ModelSpec& spec) const {
  return ImportSource::Open(
      *environment_->files,
      absl::StrCat(environment_->options.data_dir, "/import"), file, spec);
}

void DataDirectory::Drain(ModelStore& store, std::function<void()> drained,
                          std::function<void()> done) {
  // One part of it is the drain itself: no other follows that.
  auto left = std::make_shared<std::atomic<int64_t>>(1);
  const auto part = [left, done = std::move(done)] {
    if (left->fetch_sub(1) == 1) done();
  };
  store.Drain(
      [this, left, part](const std::string& name) {
        const auto log = Find(name);
        if (!log.ok()) return;  // deleted meanwhile
        left->fetch_add(1);
        (*log)->CheckpointLast(
            [part](const absl::StatusOr<CheckpointInfo>&) { part(); });
      },
      [drained = std::move(drained), part] {
        drained();
        part();
      });
}

std::vector<std::string> DataDirectory::Unkept() const {
  std::vector<std::string> names;
  MutexLock lock(&mutex_);
  for (const auto& [name, kept] : kept_) {
    if (kept.log != nullptr && !kept.log->IsKept()) names.push_back(name);
  }
  return names;
}

}  // namespace accrue
