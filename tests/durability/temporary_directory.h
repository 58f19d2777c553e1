// TemporaryDirectory: a directory of the test's own, gone when it ends.
#ifndef ACCRUE_TESTS_DURABILITY_TEMPORARY_DIRECTORY_H_
#define ACCRUE_TESTS_DURABILITY_TEMPORARY_DIRECTORY_H_

#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace accrue {

class TemporaryDirectory {
 public:
  // `parent` ends in a slash.
  explicit TemporaryDirectory(const std::string& parent = testing::TempDir())
      : path_(parent + "accrue.XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_TEMPORARY_DIRECTORY_H_
