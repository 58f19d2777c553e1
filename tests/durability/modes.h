// Who may read what a process makes.
#ifndef ACCRUE_TESTS_DURABILITY_MODES_H_
#define ACCRUE_TESTS_DURABILITY_MODES_H_

#include <filesystem>
#include <string>
#include <sys/stat.h>

namespace accrue {

// While it lives, the umask takes nothing away.
class OpenUmask {
 public:
  OpenUmask() = default;
  ~OpenUmask() { umask(before_); }
  OpenUmask(const OpenUmask&) = delete;
  OpenUmask& operator=(const OpenUmask&) = delete;

 private:
  const mode_t before_ = umask(0);
};

inline int ModeOf(const std::string& path) {
  return static_cast<int>(std::filesystem::status(path).permissions());
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_MODES_H_
