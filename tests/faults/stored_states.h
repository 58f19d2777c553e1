// ReadStoredStates: the checkpoints of a model in a data directory, of whatever
// age, as far as they are whole.
//
// Errors.    reported as failures of the test that runs
#ifndef ACCRUE_TESTS_FAULTS_STORED_STATES_H_
#define ACCRUE_TESTS_FAULTS_STORED_STATES_H_

#include <string>
#include <vector>

#include "tests/faults/subject.h"

namespace accrue::faults {

std::vector<FinalState> ReadStoredStates(const std::string& data_dir,
                                         const std::string& model);

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_STORED_STATES_H_
