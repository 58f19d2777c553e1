// Progress: how far a model under MEMORY has come, so that a restart can tell
// what was lost (FORMAT.md).
//
// A small file that is overwritten, not synced, before each answer. What a
// process has written is there after its end, however it ended; but after the
// machine's own, it may be older than what was answered: that is seen by the
// boot id in it. And another, which a process that ends in order leaves behind.
//
// Order.     Note takes no longer than the system takes to keep 112 bytes for
//            later. The others wait for the disk.
// Errors.    the disk's. What Note cannot write leaves an empty file, until it
//            can, where the disk takes as much as that; it is logged once.
// Threading. compatible; but End may run while Note does.
#ifndef ACCRUE_SERVER_DURABILITY_PROGRESS_H_
#define ACCRUE_SERVER_DURABILITY_PROGRESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/durability/file.h"
#include "server/model/version.h"

namespace accrue {

inline constexpr char kProgressFile[] = "progress";
inline constexpr char kEndFile[] = "ended";

class Progress {
 public:
  // In one sector: it is written as a whole or not at all. Little-endian.
  struct Record {
    char magic[8];
    char lineage[40];  // zeros behind it
    char boot_id[40];
    int64_t version;
    int64_t folded_pushes;
    uint64_t hash;  // XXH3-64 of all before it
  };
  struct Facts {
    Version version;
    int64_t folded_pushes = 0;  // t that was answered
    // The machine has started anew since, or may have: a later t may have been
    // answered.
    bool rebooted = false;
    // A checkpoint has all of it: the process ended in order.
    bool clean = false;
  };

  // A new file, or the one that is there, as it is; but where that is shorter
  // than a record, zeros. `files` outlives it.
  static absl::StatusOr<std::unique_ptr<Progress>> Open(
      FileSystem& files, const std::string& directory);
  // Nothing: there is none, or it is damaged.
  static absl::StatusOr<std::optional<Facts>> Read(
      FileSystem& files, const std::string& directory);

  void Note(const Version& version, int64_t folded_pushes);
  // What Note is to go on from, durably; an end in order is over. Not OK: both
  // files are as they were, as far as the disk allows.
  absl::Status Begin(const Version& version, int64_t folded_pushes);
  // As if Begin had not been, as far as the disk allows: this process leaves
  // before anybody hears from it. Not after Note.
  void TakeBack();
  // The process ends in order, durably; unless what Note has written is, or
  // will be, something else.
  absl::Status End(const Version& version, int64_t folded_pushes);

 private:
  Progress(FileSystem& files, std::string directory,
           std::unique_ptr<WritableFile> file)
      : files_(files),
        directory_(std::move(directory)),
        file_(std::move(file)) {}

  absl::Status BeginAnew(const Version& version, int64_t folded_pushes);

  FileSystem& files_;
  const std::string directory_;
  const std::unique_ptr<WritableFile> file_;
  bool failed_ = false;
  // What Begin has overwritten, sound or not. Empty: there was none.
  struct Before {
    std::optional<Record> noted = {}, end = {};
  } before_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_PROGRESS_H_
