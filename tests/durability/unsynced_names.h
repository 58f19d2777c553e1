// UnsyncedNames: what was made, renamed, linked and removed in directories
// since they were synced, and how to take it back.
//
// Kept in a shadow directory, before it is done, so that the death of the
// process at any moment leaves nothing that cannot be taken back.
//
// Threading. compatible.
#ifndef ACCRUE_TESTS_DURABILITY_UNSYNCED_NAMES_H_
#define ACCRUE_TESTS_DURABILITY_UNSYNCED_NAMES_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace accrue {

class UnsyncedNames {
 public:
  // Goes on with what is there.
  explicit UnsyncedNames(std::string shadow);

  // Before a file or directory is made at `path`, `from` renamed to `path`, or
  // the file `path` removed. What `path` names now is kept.
  void NoteMade(const std::string& path);
  void NoteRenamed(const std::string& from, const std::string& path);
  void NoteRemoved(const std::string& path);
  // Where a directory is to be moved instead of being removed.
  std::string NoteDirectoryRemoved(const std::string& path);

  void Sync(const std::string& directory);

  // Takes the newest few of each directory's back.
  void CutPower(std::mt19937_64& random);

 private:
  struct Step {
    std::string directory;  // that it is durable with
    std::string kind;       // "made", "renamed", "removed"
    std::string path;
    std::string from;  // renamed
    std::string kept;  // where what `path` named is; empty: nothing
  };

  static std::string PathAfter(const std::string& path, const Step& renamed);
  void Note(Step step);
  void TakeBack(const Step& step);
  void Write() const;
  std::string NewKept();

  const std::string shadow_;
  std::vector<Step> steps_;
  int64_t next_kept_ = 0;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_UNSYNCED_NAMES_H_
