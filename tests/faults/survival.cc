#include "tests/faults/survival.h"

#include <algorithm>
#include <limits>
#include <set>
#include <unordered_map>

#include "absl/strings/str_cat.h"

namespace accrue::faults {
namespace {

using Outcome = PushRecord::Outcome;
using Segment = Survivors::Segment;

constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();

// Where each lineage of a chain ends. A long run has many, and asks for each of
// many pushes.
using Ends = std::unordered_map<std::string, int64_t>;

Ends EndsOf(const std::vector<Segment>& chain) {
  Ends ends;
  for (const Segment& segment : chain) ends[segment.lineage] = segment.last_t;
  return ends;
}

bool IsOn(const Ends& ends, const PushRecord& push) {
  const auto end = ends.find(push.version.lineage);
  return end != ends.end() && push.t <= end->second;
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

int64_t CountOn(const Ends& ends, const std::vector<PushRecord>& pushes) {
  return Count(pushes, [&](const PushRecord& push) {
    return push.outcome == Outcome::kAcknowledged && IsOn(ends, push);
  });
}

// Though nobody was told so.
bool MayHaveBeenFolded(const PushRecord& push) {
  return push.outcome == Outcome::kUnknown ||
         (push.outcome == Outcome::kRefused &&
          push.reason == client::Reason::kLineageChanged);
}

// Whether `now` holds less of a lineage than `before` did.
bool IsCut(const std::string& lineage, const Ends& before, const Ends& now) {
  const auto old = before.find(lineage);
  if (old == before.end()) return false;
  const auto end = now.find(lineage);
  return end == now.end() || end->second < old->second;
}

// Of the pushes that nobody was told of, those that may have been folded in
// what `now` holds no more. Where it holds a later push of the same worker, it
// holds them too, if they were folded.
int64_t CountDoubtful(const std::vector<PushRecord>& pushes, const Ends& before,
                      const Ends& now) {
  int64_t count = 0;
  std::set<std::string> held;  // workers
  for (auto push = pushes.rbegin(); push != pushes.rend(); ++push) {
    if (push->outcome == Outcome::kAcknowledged && IsOn(now, *push)) {
      held.insert(push->worker);
    }
    if (MayHaveBeenFolded(*push) && IsCut(push->from.lineage, before, now) &&
        !held.contains(push->worker)) {
      count += push->micro_steps;
    }
  }
  return count;
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
  if (!MayHaveBeenFolded(push)) return false;
  const bool on_chain =
      std::any_of(chain.begin(), chain.end(), [&](const Segment& segment) {
        return segment.lineage == push.from.lineage;
      });
  return on_chain && (push.outcome == Outcome::kUnknown ||
                      push.from.lineage != chain.back().lineage);
}

Survivors FindSurvivors(const std::vector<PushRecord>& pushes,
                        const Subject& subject,
                        const std::vector<Rollback>& rollbacks) {
  Survivors survivors;
  survivors.chain = {{subject.lineage, kOpen, kOpen}};
  for (const Rollback& rollback : rollbacks) {
    if (subject.spec.durability == client::Durability::kJournal) {
      survivors.complaints.push_back(
          absl::StrCat("a restart under JOURNAL ended lineage ",
                       rollback.lineage, " at t = ", rollback.t));
    }
    const Ends before = EndsOf(survivors.chain);
    if (!GoBack(rollback, survivors.chain)) {
      survivors.complaints.push_back(absl::StrCat(
          "a restart from lineage ", rollback.lineage, ", which was gone"));
      return survivors;
    }
    const Ends now = EndsOf(survivors.chain);
    const int64_t lost = CountOn(before, pushes) - CountOn(now, pushes);
    const int64_t doubtful = CountDoubtful(pushes, before, now);
    survivors.chain.push_back({rollback.next, kOpen, kOpen});
    if (!rollback.power_cut) {
      survivors.unreported += std::max<int64_t>(0, lost - rollback.lost);
    }
    if (rollback.lost > lost + doubtful) {
      survivors.complaints.push_back(absl::StrCat(
          "a restart said that it lost ", rollback.lost, " pushes: it was ",
          lost, ", and at most ", doubtful, " of which nobody was told"));
    }
  }
  const Ends ends = EndsOf(survivors.chain);
  for (const PushRecord& push : pushes) {
    if (push.outcome == Outcome::kAcknowledged && IsOn(ends, push)) {
      survivors.pushes.push_back(push);
    }
  }
  std::stable_sort(
      survivors.pushes.begin(), survivors.pushes.end(),
      [](const PushRecord& a, const PushRecord& b) { return a.t < b.t; });
  return survivors;
}

}  // namespace accrue::faults
