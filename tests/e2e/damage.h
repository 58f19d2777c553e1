// Damage: what a disk does to a stopped daemon's files.
#ifndef ACCRUE_TESTS_E2E_DAMAGE_H_
#define ACCRUE_TESTS_E2E_DAMAGE_H_

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace accrue {

// The newest of a model's files whose path has `part` in it.
inline std::string NewestFile(const std::string& data_dir,
                              const std::string& model,
                              const std::string& part) {
  namespace fs = std::filesystem;
  std::string newest;
  for (const auto& entry :
       fs::recursive_directory_iterator(data_dir + "/models")) {
    const std::string path = entry.path();
    if (entry.is_regular_file() &&
        absl::StrContains(path, absl::StrCat("/", model, "@")) &&
        absl::StrContains(path, part)) {
      newest = std::max(newest, path);
    }
  }
  return newest;
}

inline void FlipBit(const std::string& path, int64_t byte) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(byte);
  const char flipped = static_cast<char>(file.get() ^ 0x10);
  file.seekp(byte);
  file.put(flipped);
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_DAMAGE_H_
