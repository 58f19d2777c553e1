// ModelDirectory: where a model's files are, beneath a data directory.
#ifndef ACCRUE_TESTS_DURABILITY_MODEL_DIRECTORY_H_
#define ACCRUE_TESTS_DURABILITY_MODEL_DIRECTORY_H_

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace accrue {

// Empty, and a failure: there is none.
inline std::string ModelDirectory(const std::string& data_dir,
                                  const std::string& model) {
  for (const auto& entry :
       std::filesystem::directory_iterator(data_dir + "/models")) {
    const std::string name = entry.path().filename();
    if (name.starts_with(model + "@")) return entry.path();
  }
  ADD_FAILURE() << "no model " << model << " in " << data_dir;
  return "";
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_MODEL_DIRECTORY_H_
