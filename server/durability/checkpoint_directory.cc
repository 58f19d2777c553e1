#include "server/durability/checkpoint_directory.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/durability/checkpoint_reader.h"

namespace accrue {
namespace {

constexpr char kPrefix[] = "checkpoint-";
constexpr char kTemporaryPrefix[] = "tmp-";
constexpr size_t kDigits = 20;

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                   absl::StrCat("\"", path, "\": ", what));
}

}  // namespace

std::string CheckpointName(int64_t lsn) {
  return absl::StrFormat("%s%020d", kPrefix, lsn);
}

std::optional<int64_t> ParseCheckpointName(absl::string_view name) {
  absl::string_view digits = name;
  int64_t lsn = 0;
  if (!absl::ConsumePrefix(&digits, kPrefix) || digits.size() != kDigits ||
      !absl::SimpleAtoi(digits, &lsn) || lsn < 0 ||
      CheckpointName(lsn) != name) {
    return std::nullopt;
  }
  return lsn;
}

std::string TemporaryName() {
  return absl::StrCat(kTemporaryPrefix, RandomId());
}

CheckpointInfo InfoOf(const Manifest& manifest) {
  CheckpointInfo info;
  info.name = CheckpointName(manifest.lsn);
  info.lsn = manifest.lsn;
  // A beginning's counts for it.
  info.next_lsn = manifest.lsn + (manifest.state.is_beginning ? 2 : 1);
  info.version = manifest.state.version;
  info.folded_pushes = manifest.state.folded_pushes;
  info.made_at_unix_nanos = manifest.made_at_unix_nanos;
  info.size_bytes = HeldBytes(manifest.state.held);
  for (const ArrayFile& file : manifest.files) {
    info.size_bytes += file.size_bytes;
  }
  return info;
}

absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const FileSystem& files, const std::string& directory) {
  ACCRUE_ASSIGN_OR_RETURN(std::vector<std::string> names,
                          files.List(directory));
  std::erase_if(names, [](const std::string& name) {
    return !ParseCheckpointName(name).has_value();
  });
  std::sort(names.rbegin(), names.rend());
  return names;
}

absl::StatusOr<Manifest> ReadManifest(FileSystem& files,
                                      const std::string& checkpoint) {
  const std::string path = absl::StrCat(checkpoint, "/", kManifestFile);
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = files.Open(path);
  if (absl::IsNotFound(file.status())) return Damaged(path, "is not there");
  ACCRUE_RETURN_IF_ERROR(file.status());
  const int64_t size = (*file)->size_bytes();
  if (size > kLargestManifest) {
    return Damaged(path, absl::StrCat("has ", size, " bytes"));
  }
  std::string text(static_cast<size_t>(size), '\0');
  ACCRUE_RETURN_IF_ERROR((*file)->Read(
      0, {reinterpret_cast<std::byte*>(text.data()), text.size()}));
  absl::StatusOr<Manifest> manifest = ParseManifest(text);
  if (absl::IsDataLoss(manifest.status())) {
    return Damaged(checkpoint, manifest.status().message());
  }
  ACCRUE_RETURN_IF_ERROR(manifest.status());
  const size_t slash = checkpoint.rfind('/');
  const std::string name = checkpoint.substr(slash + 1);
  if (name != CheckpointName(manifest->lsn)) {
    return Damaged(checkpoint,
                   absl::StrCat("holds ", CheckpointName(manifest->lsn)));
  }
  return manifest;
}

absl::Status RemoveLeftovers(FileSystem& files, const std::string& directory) {
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          files.List(directory));
  for (const std::string& name : names) {
    if (name.rfind(kTemporaryPrefix, 0) != 0) continue;
    // Else a power cut might leave its former name, and not all of its files.
    ACCRUE_RETURN_IF_ERROR(files.SyncDirectory(directory));
    ACCRUE_RETURN_IF_ERROR(
        files.RemoveDirectory(absl::StrCat(directory, "/", name)));
  }
  return absl::OkStatus();
}

absl::Status RemoveCheckpoint(FileSystem& files, const std::string& directory,
                              const std::string& name) {
  const std::string temporary = absl::StrCat(directory, "/", TemporaryName());
  ACCRUE_RETURN_IF_ERROR(
      files.Rename(absl::StrCat(directory, "/", name), temporary));
  // Else a power cut might leave the name, and only some of what is in it.
  ACCRUE_RETURN_IF_ERROR(files.SyncDirectory(directory));
  return files.RemoveDirectory(temporary);
}

absl::StatusOr<std::vector<CheckpointInfo>> RetireCheckpoints(
    FileSystem& files, const std::string& directory, int64_t newest_lsn,
    int64_t keep, const std::set<std::string>& pinned) {
  ACCRUE_ASSIGN_OR_RETURN(std::vector<std::string> names,
                          ListCheckpoints(files, directory));
  // A beginning on its way, which may come to nothing.
  std::erase_if(names, [newest_lsn](const std::string& name) {
    return *ParseCheckpointName(name) > newest_lsn;
  });
  std::vector<CheckpointInfo> kept;
  size_t next = 0;
  for (; next < names.size() && static_cast<int64_t>(kept.size()) < keep;
       ++next) {
    auto reader = CheckpointReader::Open(
        files, absl::StrCat(directory, "/", names[next]));
    if (reader.ok()) kept.push_back(InfoOf((*reader)->manifest()));
  }
  if (kept.empty()) return kept;
  for (; next < names.size(); ++next) {
    if (pinned.contains(names[next])) continue;
    ACCRUE_RETURN_IF_ERROR(RemoveCheckpoint(files, directory, names[next]));
  }
  return kept;
}

}  // namespace accrue
