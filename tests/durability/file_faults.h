// FileFaults: which calls of a FileSystem fail, and how. Tests set them while
// the files are in use; those of another process by a file.
//
// Threading. safe.
#ifndef ACCRUE_TESTS_DURABILITY_FILE_FAULTS_H_
#define ACCRUE_TESTS_DURABILITY_FILE_FAULTS_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/base/mutex.h"

namespace accrue {

inline constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();

struct FileFault {
  // "create", "append", "overwrite", "sync", "truncate", "make directory",
  // "rename", "link", "remove", "remove directory", "sync directory"; "change":
  // any of these; "open", "read", "list", "lock".
  std::string operation;
  std::string path_part = "";  // of any file whose path has this in it
  int64_t after = 0;           // so many have gone well
  int64_t times = 1;
  absl::StatusCode code = absl::StatusCode::kUnavailable;  // kOk: goes well
  // What the call does first: a slow disk.
  std::function<void()> first = [] {};
  // Of a sync: whether what it should have kept is lost now. Else nothing has
  // been done, and a power cut decides.
  bool loses = true;
};

class FileFaults {
 public:
  void Add(FileFault fault);
  // The disk has room for so many bytes more: what is appended beyond them is
  // RESOURCE_EXHAUSTED. What is removed gives none back.
  void SetRoom(int64_t bytes);
  // No faults, and room for everything.
  void Clear();

  // Besides, whenever a call is made, those that were saved last at `path`, if
  // there are any.
  void Follow(const std::string& path);
  // Operation, path_part and code of each; they hold always.
  static void Save(const std::string& path,
                   const std::vector<FileFault>& faults);

  // What this call is to say, before it does anything. `loses`: the fault's.
  absl::Status Check(absl::string_view operation, const std::string& path,
                     bool* loses = nullptr);
  // How many of `bytes` are still written.
  int64_t TakeRoom(int64_t bytes);

 private:
  // The one that this call meets.
  std::optional<FileFault> Take(absl::string_view operation,
                                const std::string& path);

  Mutex mutex_;
  std::string followed_ ACCRUE_GUARDED_BY(mutex_);  // path; or empty
  std::vector<FileFault> faults_ ACCRUE_GUARDED_BY(mutex_);
  int64_t room_ ACCRUE_GUARDED_BY(mutex_) = kAlways;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_FILE_FAULTS_H_
