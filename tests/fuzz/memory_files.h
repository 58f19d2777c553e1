// MemoryFiles: a file system in memory, of one flat folder: all that a target
// writes is gone with it, and any byte can be changed.
//
// Threading. for one thread.
#ifndef ACCRUE_TESTS_FUZZ_MEMORY_FILES_H_
#define ACCRUE_TESTS_FUZZ_MEMORY_FILES_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/durability/file.h"

namespace accrue::fuzz {

class MemoryFiles final : public FileSystem {
 public:
  using Contents = std::shared_ptr<std::string>;

  // By path.
  std::map<std::string, Contents>& files() { return files_; }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> Reopen(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(
      const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Link(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  // There are no others than the one.
  absl::Status CreateDirectory(const std::string&) override {
    return absl::OkStatus();
  }
  absl::Status RemoveDirectory(const std::string&) override {
    return absl::OkStatus();
  }
  absl::Status SyncDirectory(const std::string&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) const override;
  absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock(
      const std::string&) override {
    return std::make_unique<DirectoryLock>();
  }
  std::string BootId() const override { return "one"; }

 private:
  absl::StatusOr<Contents> Find(const std::string& path) const;

  std::map<std::string, Contents> files_;
};

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_MEMORY_FILES_H_
