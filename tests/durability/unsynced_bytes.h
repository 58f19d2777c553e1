// UnsyncedBytes: what a file held when it was synced last, as far as it has
// been changed since.
//
// Kept in a shadow directory, before the file is changed, under the file's
// inode, with another name for it: so whatever becomes of its names it is
// found.
//
// Threading. compatible.
#ifndef ACCRUE_TESTS_DURABILITY_UNSYNCED_BYTES_H_
#define ACCRUE_TESTS_DURABILITY_UNSYNCED_BYTES_H_

#include <cstdint>
#include <random>
#include <string>

namespace accrue {

inline constexpr int64_t kSectorBytes = 512;

class UnsyncedBytes {
 public:
  // Of the file at `path`, which exists.
  UnsyncedBytes(const std::string& shadow, const std::string& path);
  ~UnsyncedBytes();
  UnsyncedBytes(const UnsyncedBytes&) = delete;
  UnsyncedBytes& operator=(const UnsyncedBytes&) = delete;

  // Before the file grows, or bytes [offset, offset + count) change or go.
  void NoteGrowth();
  void NoteChange(int64_t offset, int64_t count);
  void Sync();
  // What was not synced is gone, and synced.
  void Lose();

  // Decides what of the changes of each file in `shadow` is kept.
  static void CutPower(const std::string& shadow, std::mt19937_64& random);
  // Forgets the files that nothing is kept of. None is open.
  static void Sweep(const std::string& shadow);

 private:
  void Begin();

  const std::string undo_;  // where all this is kept
  const std::string live_;  // the file's other name
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_UNSYNCED_BYTES_H_
