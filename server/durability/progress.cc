#include "server/durability/progress.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

using Record = Progress::Record;
static_assert(sizeof(Record) == 112);

constexpr char kMagic[8] = {'A', 'C', 'C', 'R', 'U', 'E', 'P', '1'};
constexpr size_t kIdBytes = sizeof(Record::lineage);

uint64_t HashOf(const Record& record) {
  return XXH3_64bits(&record, offsetof(Record, hash));
}

void PutId(const std::string& id, char (&out)[kIdBytes]) {
  std::memcpy(out, id.data(), std::min(id.size(), kIdBytes - 1));
}

std::string GetId(const char (&in)[kIdBytes]) {
  return std::string(in, strnlen(in, kIdBytes));
}

Record RecordOf(const std::string& boot_id, const Version& version,
                int64_t folded_pushes) {
  Record record = {};
  std::memcpy(record.magic, kMagic, sizeof(kMagic));
  PutId(version.lineage, record.lineage);
  PutId(boot_id, record.boot_id);
  record.version = version.number;
  record.folded_pushes = folded_pushes;
  record.hash = HashOf(record);
  return record;
}

WritableFile::Bytes BytesOf(const Record& record) {
  return {reinterpret_cast<const std::byte*>(&record), sizeof(record)};
}

// A file that is there, new or not.
absl::StatusOr<std::unique_ptr<WritableFile>> OpenFile(
    FileSystem& files, const std::string& directory, const char* name) {
  const std::string path = absl::StrCat(directory, "/", name);
  absl::StatusOr<std::unique_ptr<WritableFile>> file = files.Reopen(path);
  if (absl::IsNotFound(file.status())) return files.Create(path);
  return file;
}

absl::Status MakeRoom(WritableFile& file) {
  if (file.size_bytes() >= static_cast<int64_t>(sizeof(Record))) {
    return absl::OkStatus();
  }
  ACCRUE_RETURN_IF_ERROR(file.Truncate(0));
  const Record empty = {};
  const WritableFile::Bytes bytes = BytesOf(empty);
  return file.Append({&bytes, 1});
}

// But for its name.
absl::Status WriteDurably(FileSystem& files, const std::string& directory,
                          const char* name, const Record& record) {
  ACCRUE_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                          OpenFile(files, directory, name));
  ACCRUE_RETURN_IF_ERROR(MakeRoom(*file));
  ACCRUE_RETURN_IF_ERROR(file->Overwrite(0, BytesOf(record)));
  return file->Sync();
}

// Sound or not; zeros where the file is too short. Nothing: there is none.
absl::StatusOr<std::optional<Record>> ReadAsItIs(FileSystem& files,
                                                 const std::string& directory,
                                                 const char* name) {
  const auto file = files.Open(absl::StrCat(directory, "/", name));
  if (absl::IsNotFound(file.status())) return std::optional<Record>();
  ACCRUE_RETURN_IF_ERROR(file.status());
  Record record = {};
  if ((*file)->size_bytes() >= static_cast<int64_t>(sizeof(record))) {
    ACCRUE_RETURN_IF_ERROR((*file)->Read(
        0,
        absl::MakeSpan(reinterpret_cast<std::byte*>(&record), sizeof(record))));
  }
  return std::optional<Record>(record);
}

// Nothing: there is none, or it is damaged.
absl::StatusOr<std::optional<Record>> ReadRecord(FileSystem& files,
                                                 const std::string& directory,
                                                 const char* name) {
  ACCRUE_ASSIGN_OR_RETURN(std::optional<Record> record,
                          ReadAsItIs(files, directory, name));
  if (record.has_value() &&
      (std::memcmp(record->magic, kMagic, sizeof(kMagic)) != 0 ||
       record->hash != HashOf(*record))) {
    ACCRUE_LOG(warn, "\"{}/{}\" is damaged", directory, name);
    record.reset();
  }
  return record;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Progress>> Progress::Open(
    FileSystem& files, const std::string& directory) {
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                          OpenFile(files, directory, kProgressFile));
  if (file->size_bytes() == 0) {
    ACCRUE_RETURN_IF_ERROR(files.SyncDirectory(directory));
  }
  ACCRUE_RETURN_IF_ERROR(MakeRoom(*file));
  return std::unique_ptr<Progress>(
      new Progress(files, directory, std::move(file)));
}

absl::StatusOr<std::optional<Progress::Facts>> Progress::Read(
    FileSystem& files, const std::string& directory) {
  ACCRUE_ASSIGN_OR_RETURN(const std::optional<Record> record,
                          ReadRecord(files, directory, kProgressFile));
  if (!record.has_value()) return std::optional<Facts>();
  ACCRUE_ASSIGN_OR_RETURN(const std::optional<Record> end,
                          ReadRecord(files, directory, kEndFile));
  Facts facts;
  facts.version.lineage = GetId(record->lineage);
  facts.version.number = record->version;
  facts.folded_pushes = record->folded_pushes;
  const std::string boot_id = GetId(record->boot_id);
  facts.rebooted = boot_id.empty() || boot_id != files.BootId();
  facts.clean =
      end.has_value() && std::memcmp(&*end, &*record, sizeof(Record)) == 0;
  return std::optional<Facts>(std::move(facts));
}

void Progress::Note(const Version& version, int64_t folded_pushes) {
  const Record record = RecordOf(files_.BootId(), version, folded_pushes);
  absl::Status written = MakeRoom(*file_);
  if (written.ok()) written = file_->Overwrite(0, BytesOf(record));
  if (written.ok()) return;
  // None at all: an older one would be taken for the last.
  const absl::Status emptied = file_->Truncate(0);
  if (std::exchange(failed_, true)) return;
  ACCRUE_LOG(warn, "a restart {}: {}",
             emptied.ok() ? "will not know what was lost"
                          : "may count too little of what was lost",
             written.message());
}

absl::Status Progress::Begin(const Version& version, int64_t folded_pushes) {
  ACCRUE_ASSIGN_OR_RETURN(before_.noted,
                          ReadAsItIs(files_, directory_, kProgressFile));
  ACCRUE_ASSIGN_OR_RETURN(before_.end,
                          ReadAsItIs(files_, directory_, kEndFile));
  absl::Status begun = BeginAnew(version, folded_pushes);
  if (!begun.ok()) TakeBack();
  return begun;
}

// Nobody hears from this process what they say: the next has to read it.
void Progress::TakeBack() {
  absl::Status back;
  if (before_.noted.has_value()) {
    back = WriteDurably(files_, directory_, kProgressFile, *before_.noted);
  }
  if (before_.end.has_value()) {
    back.Update(WriteDurably(files_, directory_, kEndFile, *before_.end));
    back.Update(files_.SyncDirectory(directory_));
  }
  if (!back.ok()) {
    ACCRUE_LOG(warn, "the next start may not know what was lost: {}",
               back.message());
  }
}

absl::Status Progress::BeginAnew(const Version& version,
                                 int64_t folded_pushes) {
  const Record record = RecordOf(files_.BootId(), version, folded_pushes);
  ACCRUE_RETURN_IF_ERROR(file_->Overwrite(0, BytesOf(record)));
  ACCRUE_RETURN_IF_ERROR(file_->Sync());
  const absl::Status removed =
      files_.Remove(absl::StrCat(directory_, "/", kEndFile));
  if (absl::IsNotFound(removed)) return absl::OkStatus();
  ACCRUE_RETURN_IF_ERROR(removed);
  return files_.SyncDirectory(directory_);
}

absl::Status Progress::End(const Version& version, int64_t folded_pushes) {
  ACCRUE_RETURN_IF_ERROR(
      WriteDurably(files_, directory_, kEndFile,
                   RecordOf(files_.BootId(), version, folded_pushes)));
  // What was noted last; by a handle of its own, since it may be noted again.
  ACCRUE_ASSIGN_OR_RETURN(
      const std::unique_ptr<WritableFile> noted,
      files_.Reopen(absl::StrCat(directory_, "/", kProgressFile)));
  ACCRUE_RETURN_IF_ERROR(noted->Sync());
  return files_.SyncDirectory(directory_);
}

}  // namespace accrue
