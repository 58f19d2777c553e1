// CheckOneHot: whether a model holds each push once, whatever the order in
// which they were folded.
//
// The model is sgd with b = 0, whose gains and learning rate are powers of two,
// and each push is 1 at an element of its own: every element says how often its
// pushes were folded.
//
// Equation.  PER_CYCLE at d = 1 - k*2^-s: m is 2^-s times the cycle's sum, and
//            theta <- theta - 2^-a*m. So theta = -2^-(s+a)*folds, exactly.
// Threading. safe
#ifndef ACCRUE_TESTS_FAULTS_ONE_HOT_CHECK_H_
#define ACCRUE_TESTS_FAULTS_ONE_HOT_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "accrue/spec.h"
#include "tests/faults/history.h"
#include "tests/faults/subject.h"
#include "tests/faults/survival.h"
#include "tests/faults/verdict.h"

namespace accrue::faults {

// Begins at zeros. k: at most 8.
client::ModelSpec OneHotSpec(const std::string& name, int64_t k, int64_t elems);

// `final_state`: with no cycle open.
Verdict CheckOneHot(const Subject& subject, const History& history,
                    const std::vector<Rollback>& rollbacks,
                    const FinalState& final_state);

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_ONE_HOT_CHECK_H_
