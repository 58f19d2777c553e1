// SmallDisk: a file system of some megabytes in memory, for tests that fill it.
//
// It is mounted in a namespace of the test's own, which its children share and
// nobody else sees; where that is not permitted, the test skips.
//
// Errors.    reported as failures of the test that runs
// Threading. compatible
#ifndef ACCRUE_TESTS_E2E_SMALL_DISK_H_
#define ACCRUE_TESTS_E2E_SMALL_DISK_H_

#include <cstdint>
#include <string>

#include "tests/durability/temporary_directory.h"

namespace accrue {

class SmallDisk {
 public:
  // Why there can be none; empty: there can.
  static const std::string& WhyNot();

  explicit SmallDisk(int64_t bytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  const std::string& path() const { return place_.path(); }

  // All of it, but for so many bytes.
  void Fill(int64_t left_bytes = 0);
  // What Fill took is there again.
  void Free();
  // What lies in this directory of the disk; nobody has it open for writing.
  void SetReadOnly(const std::string& directory);
  void SetWritable(const std::string& directory);

 private:
  int64_t FreeBytes() const;
  std::string ballast() const { return path() + "/ballast"; }

  TemporaryDirectory place_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_SMALL_DISK_H_
