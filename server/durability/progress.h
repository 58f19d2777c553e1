// Progress: how far a model under MEMORY has come, so that a restart can tell
// what was lost (FORMAT.md).
//
// A small file that is overwritten, not synced, before each answer. What a
// process has written is there after its end, however it ended; but after the
// machine's own, it may be older than what was answered.
//
// Order.     Note is short: it waits for no disk. The others do.
// Errors.    the disk's. What cannot be written is logged once.
// Threading. compatible.
#ifndef ACCRUE_SERVER_DURABILITY_PROGRESS_H_
#define ACCRUE_SERVER_DURABILITY_PROGRESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/durability/file.h"
#include "server/model/version.h"

namespace accrue {

inline constexpr char kProgressFile[] = "progress";

class Progress {
 public:
  struct Facts {
    std::string lineage = {};   // 32 hexadecimal digits
    int64_t folded_pushes = 0;  // t that was answered
    // A checkpoint has all of it: the process ended in order.
    bool clean = false;
  };

  // A new file, or the one that is there, written anew.
  static absl::StatusOr<std::unique_ptr<Progress>> Open(
      FileSystem& files, const std::string& directory);
  // Nothing: there is none, or it is damaged, which is logged.
  static absl::StatusOr<std::optional<Facts>> Read(
      FileSystem& files, const std::string& directory);

  void Note(const std::string& lineage, int64_t folded_pushes);
  // And durable.
  absl::Status Set(const Facts& facts);

 private:
  explicit Progress(std::unique_ptr<WritableFile> file)
      : file_(std::move(file)) {}
  absl::Status Write(const Facts& facts);

  const std::unique_ptr<WritableFile> file_;
  bool failed_ = false;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_PROGRESS_H_
