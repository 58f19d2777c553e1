// ReadStoredStates: the checkpoints of a model in a data directory, of whatever
// age. All that have their name must be whole.
//
// Errors.    whatever the daemon's own reader says of one that cannot be read
#ifndef ACCRUE_TESTS_FAULTS_STORED_STATES_H_
#define ACCRUE_TESTS_FAULTS_STORED_STATES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/faults/subject.h"

namespace accrue::faults {

absl::StatusOr<std::vector<FinalState>> ReadStoredStates(
    const std::string& data_dir, const std::string& model);

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_STORED_STATES_H_
