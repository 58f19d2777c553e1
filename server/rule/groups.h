// Groups: what several groups of one model may not be to each other.
//
// Units.     cycle lengths (update_every), micro_steps: pushes.
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_GROUPS_H_
#define ACCRUE_SERVER_RULE_GROUPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/rule/rule_spec.h"

namespace accrue::rule {

// Empty if groups that are valid one by one are so together; else one
// sentence. `nested`: max_staleness is 0, so that one version takes the
// smallest cycle's pushes and every cycle must be a multiple of it.
std::string ValidateGroups(const std::vector<RuleSpec>& groups, bool nested);

// Whether a push may count as `micro_steps` pushes: no cycle of any group may
// end in the middle of one. If not, `*why` is one sentence.
bool MicroStepsAllowed(const std::vector<RuleSpec>& groups, int64_t micro_steps,
                       std::string* why);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_GROUPS_H_
