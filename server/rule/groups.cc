#include "server/rule/groups.h"

#include <algorithm>
#include <sstream>

namespace accrue::rule {
namespace {

std::string ValidateModelClip(const std::vector<RuleSpec>& groups) {
  const RuleSpec& first = groups.front();
  for (const RuleSpec& group : groups) {
    std::ostringstream out;
    if (group.clip_scope != ClipScope::kModel) {
      out << "clip_scope: MODEL and GROUP in one model";
    } else if (group.k != first.k || group.update_every != first.update_every) {
      out << "clip_scope MODEL bounds one norm over all groups, which must "
             "then share k and update_every: got k = "
          << group.k << " and " << first.k
          << ", update_every = " << group.update_every << " and "
          << first.update_every;
    } else if (group.hyper.clip_norm != first.hyper.clip_norm) {
      out << "clip_scope MODEL bounds one norm over all groups, which must "
             "then share clip_norm: got "
          << group.hyper.clip_norm << " and " << first.hyper.clip_norm;
    } else {
      continue;
    }
    return out.str();
  }
  return "";
}

std::string ValidateNesting(const std::vector<RuleSpec>& groups) {
  int64_t shortest = groups.front().update_every;
  for (const RuleSpec& group : groups) {
    shortest = std::min(shortest, group.update_every);
  }
  for (const RuleSpec& group : groups) {
    if (group.update_every % shortest == 0) continue;
    std::ostringstream out;
    out << "update_every: " << group.update_every
        << " is no multiple of the shortest cycle, " << shortest
        << ": at max_staleness 0 one version takes that many pushes, and "
           "cycles must nest";
    return out.str();
  }
  return "";
}

}  // namespace

std::string ValidateGroups(const std::vector<RuleSpec>& groups, bool nested) {
  if (groups.empty()) return "";
  const bool clips_over_groups =
      std::any_of(groups.begin(), groups.end(), [](const RuleSpec& group) {
        return group.clip_scope == ClipScope::kModel;
      });
  if (clips_over_groups) {
    std::string why = ValidateModelClip(groups);
    if (!why.empty()) return why;
  }
  return nested ? ValidateNesting(groups) : "";
}

bool MicroStepsAllowed(const std::vector<RuleSpec>& groups, int64_t micro_steps,
                       std::string* why) {
  if (micro_steps < 1) {
    *why = "micro_steps: " + std::to_string(micro_steps) + ", want at least 1";
    return false;
  }
  for (const RuleSpec& group : groups) {
    if (group.k % micro_steps == 0 && group.update_every % micro_steps == 0) {
      continue;
    }
    std::ostringstream out;  // here, since every push comes by
    out << "micro_steps: " << micro_steps
        << " must divide every group's k and update_every: got k = " << group.k
        << ", update_every = " << group.update_every;
    *why = out.str();
    return false;
  }
  return true;
}

}  // namespace accrue::rule
