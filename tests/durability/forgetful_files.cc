#include "tests/durability/forgetful_files.h"

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <random>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "tests/durability/unsynced_bytes.h"

namespace accrue {
namespace {

// The real syncs are left out: here a process's death loses nothing.
FileSystem& Real() { return *PosixFileSystem(); }

// A byte for each power cut.
std::string CutsFile(const std::string& shadow) { return shadow + "/cuts"; }

}  // namespace

class ForgetfulFiles::File final : public WritableFile {
 public:
  File(ForgetfulFiles* owner, std::unique_ptr<WritableFile> real,
       const std::string& path)
      : owner_(owner),
        real_(std::move(real)),
        path_(path),
        unsynced_(owner->shadow_, path) {}

  absl::Status Append(absl::Span<const Bytes> pieces) override {
    unsynced_.NoteGrowth();
    int64_t bytes = 0;
    for (const Bytes& piece : pieces) bytes += std::ssize(piece);
    if (absl::Status status = owner_->faults_.Check("append", path_);
        !status.ok()) {
      ACCRUE_RETURN_IF_ERROR(AppendFirst(bytes / 2, pieces));
      return status;
    }
    const int64_t room = owner_->faults_.TakeRoom(bytes);
    ACCRUE_RETURN_IF_ERROR(AppendFirst(room, pieces));
    if (room == bytes) return absl::OkStatus();
    return absl::ResourceExhaustedError("cannot append \"" + path_ +
                                        "\": No space left on device");
  }

  absl::Status Overwrite(int64_t offset, Bytes bytes) override {
    ACCRUE_RETURN_IF_ERROR(owner_->faults_.Check("overwrite", path_));
    unsynced_.NoteChange(offset, std::ssize(bytes));
    return real_->Overwrite(offset, bytes);
  }

  absl::Status Sync() override {
    bool loses = false;
    absl::Status status = owner_->faults_.Check("sync", path_, &loses);
    if (status.ok()) unsynced_.Sync();
    if (loses) unsynced_.Lose();
    MutexLock lock(&owner_->mutex_);
    ++owner_->sync_count_;
    return status;
  }

  absl::Status Truncate(int64_t size_bytes) override {
    ACCRUE_RETURN_IF_ERROR(owner_->faults_.Check("truncate", path_));
    unsynced_.NoteChange(size_bytes, real_->size_bytes() - size_bytes);
    return real_->Truncate(size_bytes);
  }

  int64_t size_bytes() const override { return real_->size_bytes(); }

 private:
  absl::Status AppendFirst(int64_t bytes, absl::Span<const Bytes> pieces) {
    std::vector<Bytes> first;
    for (const Bytes& piece : pieces) {
      first.push_back(piece.subspan(0, static_cast<size_t>(bytes)));
      bytes -= std::ssize(first.back());
    }
    return real_->Append(first);
  }

  ForgetfulFiles* const owner_;
  const std::unique_ptr<WritableFile> real_;
  const std::string path_;
  UnsyncedBytes unsynced_;
};

class ForgetfulFiles::Reader final : public ReadableFile {
 public:
  Reader(const ForgetfulFiles* owner, std::unique_ptr<ReadableFile> real,
         const std::string& path)
      : owner_(owner), real_(std::move(real)), path_(path) {}

  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    ACCRUE_RETURN_IF_ERROR(owner_->faults_.Check("read", path_));
    return real_->Read(offset, out);
  }
  int64_t size_bytes() const override { return real_->size_bytes(); }

 private:
  const ForgetfulFiles* const owner_;
  const std::unique_ptr<ReadableFile> real_;
  const std::string path_;
};

ForgetfulFiles::ForgetfulFiles(std::string shadow)
    : shadow_(std::move(shadow)), names_(shadow_) {
  UnsyncedBytes::Sweep(shadow_);
}

void ForgetfulFiles::CutPower(const std::string& shadow, uint64_t seed) {
  std::mt19937_64 random(seed);
  UnsyncedNames(shadow).CutPower(random);
  UnsyncedBytes::CutPower(shadow, random);
  std::ofstream(CutsFile(shadow), std::ios::app) << '.';
}

int64_t ForgetfulFiles::sync_count() const {
  MutexLock lock(&mutex_);
  return sync_count_;
}

absl::StatusOr<std::unique_ptr<WritableFile>> ForgetfulFiles::Create(
    const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("create", path));
  MutexLock lock(&mutex_);
  if (Real().Open(path).ok()) {
    return absl::AlreadyExistsError("cannot create \"" + path +
                                    "\": File exists");
  }
  names_.NoteMade(path);
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> real,
                          Real().Create(path));
  return std::make_unique<File>(this, std::move(real), path);
}

absl::StatusOr<std::unique_ptr<WritableFile>> ForgetfulFiles::Reopen(
    const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("open", path));
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> real,
                          Real().Reopen(path));
  return std::make_unique<File>(this, std::move(real), path);
}

absl::StatusOr<std::unique_ptr<ReadableFile>> ForgetfulFiles::Open(
    const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("open", path));
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> real,
                          Real().Open(path));
  return std::make_unique<Reader>(this, std::move(real), path);
}

absl::Status ForgetfulFiles::CreateDirectory(const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("make directory", path));
  MutexLock lock(&mutex_);
  if (Real().List(path).ok()) {
    return absl::AlreadyExistsError("cannot make directory \"" + path +
                                    "\": File exists");
  }
  names_.NoteMade(path);
  return Real().CreateDirectory(path);
}

absl::Status ForgetfulFiles::Rename(const std::string& from,
                                    const std::string& to) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("rename", from));
  MutexLock lock(&mutex_);
  names_.NoteRenamed(from, to);
  return Real().Rename(from, to);
}

absl::Status ForgetfulFiles::Link(const std::string& from,
                                  const std::string& to) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("link", from));
  MutexLock lock(&mutex_);
  if (Real().Open(to).ok()) {
    return absl::AlreadyExistsError("cannot link to \"" + to +
                                    "\": File exists");
  }
  names_.NoteMade(to);
  return Real().Link(from, to);
}

absl::Status ForgetfulFiles::Remove(const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("remove", path));
  MutexLock lock(&mutex_);
  names_.NoteRemoved(path);
  return Real().Remove(path);
}

absl::Status ForgetfulFiles::RemoveDirectory(const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("remove directory", path));
  MutexLock lock(&mutex_);
  if (!Real().List(path).ok()) return absl::OkStatus();
  return Real().Rename(path, names_.NoteDirectoryRemoved(path));
}

absl::Status ForgetfulFiles::SyncDirectory(const std::string& path) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("sync directory", path));
  MutexLock lock(&mutex_);
  names_.Sync(path);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ForgetfulFiles::List(
    const std::string& directory) const {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("list", directory));
  return Real().List(directory);
}

absl::StatusOr<std::unique_ptr<DirectoryLock>> ForgetfulFiles::Lock(
    const std::string& directory) {
  ACCRUE_RETURN_IF_ERROR(faults_.Check("lock", directory));
  return Real().Lock(directory);
}

std::string ForgetfulFiles::BootId() const {
  std::error_code none;
  const auto cuts = std::filesystem::file_size(CutsFile(shadow_), none);
  return absl::StrCat("after ", none ? 0 : cuts, " cuts");
}

}  // namespace accrue
