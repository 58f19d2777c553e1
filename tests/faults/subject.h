// Subject: a model that is put to a test, and how it was found in the end.
#ifndef ACCRUE_TESTS_FAULTS_SUBJECT_H_
#define ACCRUE_TESTS_FAULTS_SUBJECT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "accrue/spec.h"
#include "accrue/version.h"

namespace accrue::faults {

struct Subject {
  client::ModelSpec spec = {};
  std::vector<float> initial = {};
  std::string lineage = {};  // of its initialization
};

struct FinalState {
  client::Version version = {};
  int64_t t = 0;
  std::vector<float> theta = {};
  // Empty where nothing tells them.
  std::vector<float> momentum = {}, variance = {};

  bool operator==(const FinalState& other) const = default;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_SUBJECT_H_
