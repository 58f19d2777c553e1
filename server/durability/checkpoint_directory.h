// CheckpointDirectory: the checkpoints of one model, each a directory of its
// own beneath the model's: `checkpoint-<lsn, 20 digits>`. What is not whole, or
// on its way out, is called `tmp-...`.
//
// Order.     functions block for as long as the disk does.
// Errors.    the disk's.
// Threading. compatible: one writer or retirer a model at a time.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_DIRECTORY_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_DIRECTORY_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/durability/file.h"
#include "server/durability/manifest.h"
#include "server/model/version.h"

namespace accrue {

std::string CheckpointName(int64_t lsn);
// None: not a checkpoint's name.
std::optional<int64_t> ParseCheckpointName(absl::string_view name);
// "tmp-" and something random.
std::string TemporaryName();

struct CheckpointInfo {
  std::string name;
  int64_t lsn = 0;
  int64_t next_lsn = 1;  // of the first record that is not a part of it
  std::optional<Version> version;
  int64_t folded_pushes = 0;
  int64_t made_at_unix_nanos = 0;
  int64_t size_bytes = 0;  // of its files, but for the manifest
};
CheckpointInfo InfoOf(const Manifest& manifest);

// Names of all that look like checkpoints, newest first.
absl::StatusOr<std::vector<std::string>> ListCheckpoints(
    const FileSystem& files, const std::string& directory);

// A checkpoint's manifest. `checkpoint`: its path. DATA_LOSS kDamaged: it, or
// its place, is not what it was. What the manifest says of other files is not
// looked at.
absl::StatusOr<Manifest> ReadManifest(FileSystem& files,
                                      const std::string& checkpoint);

// Removes what an end in the middle of things has left.
absl::Status RemoveLeftovers(FileSystem& files, const std::string& directory);

// Removes one checkpoint: it is whole until it is gone.
absl::Status RemoveCheckpoint(FileSystem& files, const std::string& directory,
                              const std::string& name);

// Keeps, of those up to number `newest_lsn`, the newest `keep` (at least 1)
// that have a sound manifest and all of their files, and what is newer than the
// last of them, and those named in `pinned`; removes the others. Returns the
// newest that are kept and sound, newest first; none: nothing was removed.
absl::StatusOr<std::vector<CheckpointInfo>> RetireCheckpoints(
    FileSystem& files, const std::string& directory, int64_t newest_lsn,
    int64_t keep, const std::set<std::string>& pinned = {});

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_DIRECTORY_H_
