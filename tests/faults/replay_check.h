// CheckReplay: whether a model is what its acknowledged pushes make of it, in
// the order of t, bit for bit: in the end, in every version that anybody
// pulled, and in every state that was stored on the way.
//
// Pushes whose answers nobody got may have been folded or not: where t leaves
// room between acknowledged pushes, and only there, one of them has to explain
// the model's bits. All that can be are tried.
//
// Threading. safe
#ifndef ACCRUE_TESTS_FAULTS_REPLAY_CHECK_H_
#define ACCRUE_TESTS_FAULTS_REPLAY_CHECK_H_

#include <vector>

#include "tests/faults/history.h"
#include "tests/faults/subject.h"
#include "tests/faults/survival.h"
#include "tests/faults/verdict.h"

namespace accrue::faults {

Verdict CheckReplay(const Subject& subject, const History& history,
                    const std::vector<Rollback>& rollbacks,
                    const FinalState& final_state,
                    const std::vector<FinalState>& stored = {});

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_REPLAY_CHECK_H_
