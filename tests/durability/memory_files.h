// MemoryFiles: a FileSystem in memory, whose bytes a test sets as it likes.
//
// Directories are whatever stands before a name's last slash; they need not be
// made. Nothing fails but for what is not there, or is there already.
//
// Threading. compatible.
#ifndef ACCRUE_TESTS_DURABILITY_MEMORY_FILES_H_
#define ACCRUE_TESTS_DURABILITY_MEMORY_FILES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/durability/file.h"

namespace accrue {

class MemoryFiles final : public FileSystem {
 public:
  // By path. Open files see what is changed here.
  std::map<std::string, std::shared_ptr<std::string>> files;
  int64_t read_bytes = 0;  // of all of them, so far

  void Put(const std::string& path, std::string bytes) {
    files[path] = std::make_shared<std::string>(std::move(bytes));
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> Reopen(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(
      const std::string& path) override;
  absl::Status CreateDirectory(const std::string&) override {
    return absl::OkStatus();
  }
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Link(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveDirectory(const std::string& path) override;
  absl::Status SyncDirectory(const std::string&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) const override;
  absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock(
      const std::string& directory) override;
  std::string BootId() const override { return "one"; }
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_MEMORY_FILES_H_
