// ForgetfulFiles: real files, on a disk that has kept, after a power cut, only
// what was synced, and of the rest what chance decides; and that can fail.
//
// Beside the files lies a shadow directory that says how to take back what is
// not synced. So it works for a process that is killed too: kill it, CutPower,
// start it again; without CutPower the restart finds all that was written, and
// what of it is not synced may still be lost later.
//
// What a power cut leaves. Bytes: of each sector of 512 bytes that was
// overwritten since the file's last Sync, one of the contents that it has had
// since; a file that grew has grown, partly, or not at all, and each of its new
// sectors has been written, or is zero. Names: of what was made, renamed,
// linked and removed in a directory since it was synced, in order, the first
// few, or all, or nothing.
// A Sync that fails loses at once (FileFault::loses) what it should have kept:
// the old sectors are back, or zeros, and another Sync has nothing more to do.
//
// Errors.    as FileSystem's, and those of `faults`. An append that fails has
//            written the first half.
// Threading. as FileSystem. One process at a time.
#ifndef ACCRUE_TESTS_DURABILITY_FORGETFUL_FILES_H_
#define ACCRUE_TESTS_DURABILITY_FORGETFUL_FILES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/durability/file.h"
#include "tests/durability/file_faults.h"
#include "tests/durability/unsynced_names.h"

namespace accrue {

class ForgetfulFiles final : public FileSystem {
 public:
  // On the files' own file system; made if there is none. Then all that is on
  // the disk now counts as synced.
  explicit ForgetfulFiles(std::string shadow);

  // No process has the files open. Seeds are to be told.
  static void CutPower(const std::string& shadow, uint64_t seed);

  FileFaults& faults() { return faults_; }
  int64_t sync_count() const;  // of files, so far

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> Reopen(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(
      const std::string& path) override;
  absl::Status CreateDirectory(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Link(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveDirectory(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) const override;
  absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock(
      const std::string& directory) override;
  std::string BootId() const override;  // how often the power was cut

 private:
  class File;
  class Reader;

  const std::string shadow_;
  mutable FileFaults faults_;
  mutable Mutex mutex_;
  UnsyncedNames names_ ACCRUE_GUARDED_BY(mutex_);
  int64_t sync_count_ ACCRUE_GUARDED_BY(mutex_) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_FORGETFUL_FILES_H_
