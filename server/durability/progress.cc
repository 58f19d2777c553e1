#include "server/durability/progress.h"

#include <cstring>
#include <utility>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

constexpr char kMagic[8] = {'A', 'C', 'C', 'R', 'U', 'E', 'P', '1'};
constexpr size_t kIdBytes = 40;  // a lineage; zeros behind it

// One sector: it is written as a whole or not at all. Little-endian.
struct Record {
  char magic[8];
  char lineage[kIdBytes];
  int64_t folded_pushes;
  int64_t clean;
  uint64_t hash;  // XXH3-64 of all before it
};
static_assert(sizeof(Record) == 72);

uint64_t HashOf(const Record& record) {
  return XXH3_64bits(&record, offsetof(Record, hash));
}

void CopyId(const std::string& from, char (&to)[kIdBytes]) {
  std::memcpy(to, from.data(), std::min(from.size(), kIdBytes - 1));
}

WritableFile::Bytes BytesOf(const Record& record) {
  return {reinterpret_cast<const std::byte*>(&record), sizeof(record)};
}

std::optional<Progress::Facts> Damaged(const std::string& path) {
  ACCRUE_LOG(warn, "\"{}\" is damaged: nobody knows how many pushes are lost",
             path);
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Progress>> Progress::Open(
    FileSystem& files, const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kProgressFile);
  absl::StatusOr<std::unique_ptr<WritableFile>> file = files.Reopen(path);
  if (absl::IsNotFound(file.status())) {
    file = files.Create(path);
    ACCRUE_RETURN_IF_ERROR(file.status());
    ACCRUE_RETURN_IF_ERROR(files.SyncDirectory(directory));
  }
  ACCRUE_RETURN_IF_ERROR(file.status());
  if ((*file)->size_bytes() < static_cast<int64_t>(sizeof(Record))) {
    ACCRUE_RETURN_IF_ERROR((*file)->Truncate(0));
    const Record empty = {};
    const WritableFile::Bytes bytes = BytesOf(empty);
    ACCRUE_RETURN_IF_ERROR((*file)->Append({&bytes, 1}));
  }
  return std::unique_ptr<Progress>(new Progress(*std::move(file)));
}

absl::StatusOr<std::optional<Progress::Facts>> Progress::Read(
    FileSystem& files, const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kProgressFile);
  const auto file = files.Open(path);
  if (absl::IsNotFound(file.status())) return std::optional<Facts>();
  ACCRUE_RETURN_IF_ERROR(file.status());
  Record record = {};
  if ((*file)->size_bytes() < static_cast<int64_t>(sizeof(record))) {
    return Damaged(path);
  }
  ACCRUE_RETURN_IF_ERROR((*file)->Read(
      0,
      absl::MakeSpan(reinterpret_cast<std::byte*>(&record), sizeof(record))));
  if (std::memcmp(record.magic, kMagic, sizeof(kMagic)) != 0 ||
      record.hash != HashOf(record)) {
    return Damaged(path);
  }
  Facts facts;
  facts.lineage.assign(record.lineage,
                       strnlen(record.lineage, sizeof(record.lineage)));
  facts.folded_pushes = record.folded_pushes;
  facts.clean = record.clean != 0;
  return std::optional<Facts>(std::move(facts));
}

void Progress::Note(const std::string& lineage, int64_t folded_pushes) {
  const absl::Status written =
      Write({.lineage = lineage, .folded_pushes = folded_pushes});
  if (!written.ok() && !std::exchange(failed_, true)) {
    ACCRUE_LOG(warn, "a restart will not know what was lost: {}",
               written.message());
  }
}

absl::Status Progress::Set(const Facts& facts) {
  ACCRUE_RETURN_IF_ERROR(Write(facts));
  return file_->Sync();
}

absl::Status Progress::Write(const Facts& facts) {
  Record record = {};
  std::memcpy(record.magic, kMagic, sizeof(kMagic));
  CopyId(facts.lineage, record.lineage);
  record.folded_pushes = facts.folded_pushes;
  record.clean = facts.clean ? 1 : 0;
  record.hash = HashOf(record);
  return file_->Overwrite(0, BytesOf(record));
}

}  // namespace accrue
