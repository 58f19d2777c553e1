// TemporaryDirectory: on the disk that is measured: where $TMPDIR says, or in
// /tmp. It goes with all that is in it.
#ifndef ACCRUE_TESTS_BENCH_TEMPORARY_DIRECTORY_H_
#define ACCRUE_TESTS_BENCH_TEMPORARY_DIRECTORY_H_

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace accrue::bench {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* const base = std::getenv("TMPDIR");
    path_ = std::string(base == nullptr ? "/tmp" : base) + "/bench_XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_TEMPORARY_DIRECTORY_H_
