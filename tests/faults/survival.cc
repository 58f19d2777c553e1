#include "tests/faults/survival.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace accrue::faults {
namespace {

using Outcome = PushRecord::Outcome;
using Segment = Survivors::Segment;

constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();

bool IsOn(const std::vector<Segment>& chain, const PushRecord& push) {
  return std::any_of(chain.begin(), chain.end(), [&](const Segment& segment) {
    return segment.lineage == push.version.lineage && push.t <= segment.last_t;
  });
}

// Micro-steps counted, as t does.
template <class Which>
int64_t Count(const std::vector<PushRecord>& pushes, Which which) {
  int64_t count = 0;
  for (const PushRecord& push : pushes) {
    if (which(push)) count += push.micro_steps;
  }
  return count;
}

int64_t CountOn(const std::vector<Segment>& chain,
                const std::vector<PushRecord>& pushes) {
  return Count(pushes, [&](const PushRecord& push) {
    return push.outcome == Outcome::kAcknowledged && IsOn(chain, push);
  });
}

// Of pushes whose answers nobody got: these may have been sent.
int64_t CountUnknown(const std::vector<PushRecord>& pushes,
                     const std::string& lineage) {
  return Count(pushes, [&](const PushRecord& push) {
    return push.outcome != Outcome::kAcknowledged &&
           push.from.lineage == lineage;
  });
}

// False: the chain has no such lineage.
bool GoBack(const Rollback& rollback, std::vector<Segment>& chain) {
  while (!chain.empty() && chain.back().lineage != rollback.lineage) {
    chain.pop_back();
  }
  if (chain.empty()) return false;
  chain.back().last_t = rollback.t;
  chain.back().last_version = rollback.version;
  return true;
}

}  // namespace

bool Survivors::MayHold(const PushRecord& push) const {
  if (push.outcome == Outcome::kAcknowledged) return false;
  const bool on_chain =
      std::any_of(chain.begin(), chain.end(), [&](const Segment& segment) {
        return segment.lineage == push.from.lineage;
      });
  return on_chain && (push.outcome == Outcome::kUnknown ||
                      push.from.lineage != chain.back().lineage);
}

Survivors FindSurvivors(const std::vector<PushRecord>& pushes,
                        const std::string& first,
                        const std::vector<Rollback>& rollbacks) {
  Survivors survivors;
  survivors.chain = {{first, kOpen, kOpen}};
  for (const Rollback& rollback : rollbacks) {
    const std::string before = survivors.chain.back().lineage;
    const int64_t held = CountOn(survivors.chain, pushes);
    if (!GoBack(rollback, survivors.chain)) {
      survivors.complaints.push_back(absl::StrCat(
          "a restart from lineage ", rollback.lineage, ", which was gone"));
      return survivors;
    }
    const int64_t lost = held - CountOn(survivors.chain, pushes);
    survivors.chain.push_back({rollback.next, kOpen, kOpen});
    if (!rollback.power_cut) {
      survivors.unreported += std::max<int64_t>(0, lost - rollback.lost);
    }
    if (rollback.lost > lost + CountUnknown(pushes, before)) {
      survivors.complaints.push_back(
          absl::StrCat("a restart said that it lost ", rollback.lost,
                       " pushes: it was ", lost));
    }
  }
  for (const PushRecord& push : pushes) {
    if (push.outcome == Outcome::kAcknowledged && IsOn(survivors.chain, push)) {
      survivors.pushes.push_back(push);
    }
  }
  std::stable_sort(
      survivors.pushes.begin(), survivors.pushes.end(),
      [](const PushRecord& a, const PushRecord& b) { return a.t < b.t; });
  return survivors;
}

}  // namespace accrue::faults
