// CheckState: whether a state that was read fits its spec, so that a model can
// begin with it unchecked.
//
// Errors.    INVALID_ARGUMENT: what, and what it should be.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_STATE_CHECK_H_
#define ACCRUE_SERVER_DURABILITY_STATE_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/model/spec.h"
#include "server/model/training_state.h"
#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"

namespace accrue {

// `spec` is valid.
absl::Status CheckState(const TrainingState& state, const ModelSpec& spec);

// Of a group's cycle under `rule`, whose hyperparameters are the newest.
absl::Status CheckCycle(const rule::CycleState& cycle, rule::RuleSpec rule);

// Of a push that is held by a model of so many groups and elements.
absl::Status CheckHeldPush(const HeldPushState& held, size_t group_count,
                           int64_t elems);

// Of what only grows, by less than this in any life of a model.
bool IsCount(int64_t value);
// Of a worker.
bool IsWorker(const std::string& name);
// 32 lowercase hexadecimal digits, as RandomId gives them.
bool IsId(const std::string& text);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_STATE_CHECK_H_
