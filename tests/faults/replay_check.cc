#include "tests/faults/replay_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/faults/gradient.h"
#include "tests/faults/replay.h"

namespace accrue::faults {
namespace {

using Outcome = PushRecord::Outcome;
using Segment = Survivors::Segment;

// Of what is tried for pushes of unknown fate.
constexpr int kMaxPaths = 20'000;
constexpr int64_t kAnyFaults = std::numeric_limits<int64_t>::max();

int64_t DifferentBytes(const std::vector<float>& a,
                       const std::vector<float>& b) {
  if (a.size() != b.size()) {
    return static_cast<int64_t>(std::max(a.size(), b.size()) * sizeof(float));
  }
  const auto* const x = reinterpret_cast<const std::byte*>(a.data());
  const auto* const y = reinterpret_cast<const std::byte*>(b.data());
  int64_t different = 0;
  for (size_t i = 0; i < a.size() * sizeof(float); ++i) {
    if (x[i] != y[i]) ++different;
  }
  return different;
}

// A push whose fate nobody knows, and between which pushes of its worker it
// was.
struct Doubtful {
  PushRecord push;
  int64_t after_t = 0;
  int64_t before_t = std::numeric_limits<int64_t>::max();
};

std::vector<Doubtful> FindDoubtful(const std::vector<PushRecord>& pushes,
                                   const Survivors& survivors) {
  // Elsewhere the same t has come again.
  std::set<std::pair<std::string, int64_t>> surviving;
  for (const PushRecord& push : survivors.pushes) {
    surviving.insert({push.version.lineage, push.t});
  }
  std::vector<Doubtful> doubtful;
  std::map<std::string, int64_t> last_t;  // by worker
  for (const PushRecord& push : pushes) {
    if (survivors.MayHold(push)) {
      doubtful.push_back({.push = push, .after_t = last_t[push.worker]});
    }
    if (push.outcome != Outcome::kAcknowledged ||
        !surviving.contains({push.version.lineage, push.t})) {
      continue;
    }
    last_t[push.worker] = push.t;
    for (Doubtful& earlier : doubtful) {
      if (earlier.push.worker != push.worker) continue;
      earlier.before_t = std::min(earlier.before_t, push.t);
    }
  }
  return doubtful;
}

class Search {
 public:
  Search(const Subject& subject, const History& history, Survivors survivors,
         const FinalState& final_state, const std::vector<FinalState>& stored)
      : subject_(subject),
        survivors_(std::move(survivors)),
        final_(final_state),
        doubtful_(FindDoubtful(history.pushes(), survivors_)),
        pulls_(history.pulls()),
        closes_(history.closes()) {
    for (const FinalState& state : stored) {
      stored_.emplace(KeyOf(state), &state);
    }
  }

  // At first only what has no fault at all: a wrong guess is given up where it
  // shows, not followed to the end. Else what has the fewest.
  Verdict Run() {
    for (const int64_t most : {int64_t{0}, kAnyFaults}) {
      most_faults_ = most;
      paths_ = 0;
      Path path{.replay = Replay(subject_.spec, subject_.initial)};
      Look(path, /*published=*/true);
      Walk(std::move(path));
      if (best_.has_value()) return *best_;
    }
    return {.complaints = {"nothing was tried"}};
  }

 private:
  // One way in which it may have gone, as far as it has been followed.
  struct Path {
    Replay replay;
    int64_t t = 0;
    size_t next = 0;               // of survivors_.pushes
    size_t segment = 0;            // of survivors_.chain
    std::set<size_t> folded = {};  // of doubtful_
    Verdict verdict = {};
  };

  // (lineage, number, t) of a state.
  using StateKey = std::tuple<std::string, int64_t, int64_t>;
  static StateKey KeyOf(const FinalState& state) {
    return {state.version.lineage, state.version.number, state.t};
  }

  bool Hopeless(const Path& path) const {
    const int64_t faults = Faults(path.verdict);
    return faults > most_faults_ ||
           (best_.has_value() && faults >= Faults(*best_));
  }
  static int64_t Faults(const Verdict& verdict) {
    return verdict.mismatched_bytes + verdict.twice +
           static_cast<int64_t>(verdict.complaints.size());
  }

  void Walk(Path path);
  bool Branch(const Path& path, int64_t room);
  void Acknowledged(Path& path) const;
  void Fold(const PushRecord& push, Path& path) const;
  bool Close(Path& path) const;
  void CloseUpTo(int64_t version, Path& path) const;
  void Look(Path& path, bool published) const;
  static void Compare(const std::string& where, const FinalState& state,
                      Path& path);
  void End(Path path);

  const Subject& subject_;
  const Survivors survivors_;
  const FinalState& final_;
  const std::vector<Doubtful> doubtful_;
  const std::map<VersionKey, std::vector<float>> pulls_;
  const std::set<VersionKey> closes_;
  // Some twice: who writes one again may write it wrong.
  std::multimap<StateKey, const FinalState*> stored_;
  std::optional<Verdict> best_;
  int64_t most_faults_ = 0;
  int paths_ = 0;
};

void Search::Walk(Path path) {
  ++paths_;
  while (!Hopeless(path)) {
    const bool ends = path.next == survivors_.pushes.size();
    int64_t target = final_.t;
    if (!ends) {
      const PushRecord& push = survivors_.pushes[path.next];
      target = push.t - push.micro_steps;
    }
    if (path.t < target) {
      if (Branch(path, target - path.t)) return;
      path.verdict.complaints.push_back(
          absl::StrCat("folds after t = ", path.t, " that nobody sent"));
      path.verdict.twice += target - path.t;
      path.t = target;
    }
    if (ends) return End(std::move(path));
    Acknowledged(path);
  }
}

// Follows all that may have filled the room before the next acknowledged push.
// False: nothing may.
bool Search::Branch(const Path& path, int64_t room) {
  bool any = false;
  for (size_t i = 0; i < doubtful_.size(); ++i) {
    const Doubtful& doubtful = doubtful_[i];
    if (path.folded.contains(i) || doubtful.push.micro_steps > room ||
        path.t < doubtful.after_t ||
        path.t + doubtful.push.micro_steps >= doubtful.before_t ||
        doubtful.push.from.number > path.replay.version()) {
      continue;
    }
    any = true;
    if (paths_ >= kMaxPaths) break;
    Path other = path;
    other.folded.insert(i);
    Fold(doubtful.push, other);
    Walk(std::move(other));
  }
  Path closed = path;
  if (any && paths_ < kMaxPaths && Close(closed)) Walk(std::move(closed));
  return any;
}

void Search::Acknowledged(Path& path) const {
  const PushRecord& push = survivors_.pushes[path.next++];
  CloseUpTo(push.version.number - (push.published ? 1 : 0), path);
  const int64_t before = path.replay.version();
  Fold(push, path);
  if (path.replay.version() != push.version.number ||
      (path.replay.version() != before) != push.published) {
    path.verdict.complaints.push_back(absl::StrCat(
        Describe(push), ": it should be version ", path.replay.version()));
  }
}

void Search::Fold(const PushRecord& push, Path& path) const {
  const auto elems = static_cast<int64_t>(subject_.initial.size());
  const bool published = path.replay.Push(
      {.gradient = Gradient::Random(push.seed, push.encoding, elems).floats(),
       .version = push.from.number,
       .micro_steps = push.micro_steps,
       .weight = push.weight,
       .scale = push.scale});
  path.t += push.micro_steps;
  Look(path, published);
}

// Closes the open cycles, if somebody asked for it.
bool Search::Close(Path& path) const {
  const std::string& lineage = survivors_.chain[path.segment].lineage;
  if (!closes_.contains({lineage, path.replay.version()})) return false;
  if (!path.replay.Close()) return false;
  Look(path, /*published=*/true);
  return true;
}

void Search::CloseUpTo(int64_t version, Path& path) const {
  while (path.replay.version() < version && Close(path)) {
  }
}

// Compares what was stored here, and what has been pulled of a new version.
void Search::Look(Path& path, bool published) const {
  const auto& chain = survivors_.chain;
  const int64_t version = path.replay.version();
  while (true) {
    const Segment& segment = chain[path.segment];
    const auto [begin, end] =
        stored_.equal_range({segment.lineage, version, path.t});
    for (auto stored = begin; stored != end; ++stored) {
      Compare(absl::StrCat("stored at t = ", path.t), *stored->second, path);
    }
    const auto pull = pulls_.find({segment.lineage, version});
    if (published && pull != pulls_.end()) {
      Compare(absl::StrCat("pulled as version ", version),
              {.theta = pull->second}, path);
    }
    if (path.t != segment.last_t || version != segment.last_version) return;
    ++path.segment;
    published = true;  // in another lineage
  }
}

void Search::Compare(const std::string& where, const FinalState& state,
                     Path& path) {
  const auto compare = [&](const char* what, const std::vector<float>& want,
                           const std::vector<float>& got) {
    if (got.empty()) return;
    const int64_t different = DifferentBytes(want, got);
    if (different == 0) return;
    path.verdict.mismatched_bytes += different;
    path.verdict.complaints.push_back(absl::StrCat(different, " bytes of the ",
                                                   what, ", ", where,
                                                   ", are not the replay's"));
  };
  if (!state.momentum.empty()) ++path.verdict.moments_compared;
  compare("parameters", path.replay.theta(), state.theta);
  compare("momentum", path.replay.momentum(), state.momentum);
  compare("variance", path.replay.variance(), state.variance);
}

void Search::End(Path path) {
  CloseUpTo(final_.version.number, path);
  Verdict& verdict = path.verdict;
  if (path.replay.version() != final_.version.number) {
    verdict.complaints.push_back(
        absl::StrCat("the model is at version ", final_.version.number,
                     ", the replay at ", path.replay.version()));
  }
  Compare("in the end", final_, path);
  if (!Hopeless(path)) best_ = std::move(verdict);
}

// Takes out acknowledged pushes that cannot be where they are said to be: each
// is one that the model does not hold.
int64_t TakeOutLost(int64_t final_t, std::vector<PushRecord>& pushes,
                    std::vector<std::string>& complaints) {
  int64_t t = 0;
  std::vector<PushRecord> kept;
  for (PushRecord& push : pushes) {
    if (push.t - push.micro_steps < t || push.t > final_t) {
      complaints.push_back(absl::StrCat(
          Describe(push), push.t > final_t ? ": the model's t is lower"
                                           : ": another has its place"));
      continue;
    }
    t = push.t;
    kept.push_back(std::move(push));
  }
  const auto lost = static_cast<int64_t>(pushes.size() - kept.size());
  pushes = std::move(kept);
  return lost;
}

}  // namespace

Verdict CheckReplay(const Subject& subject, const History& history,
                    const std::vector<Rollback>& rollbacks,
                    const FinalState& final_state,
                    const std::vector<FinalState>& stored) {
  Survivors survivors = FindSurvivors(history.pushes(), subject, rollbacks);
  Verdict verdict = {.acked = history.acknowledged(),
                     .duplicates = history.duplicates(),
                     .unknown = history.unknown(),
                     .unreported = survivors.unreported,
                     .complaints = history.complaints()};
  verdict.lost = verdict.acked - static_cast<int64_t>(survivors.pushes.size());
  verdict.complaints.insert(verdict.complaints.end(),
                            survivors.complaints.begin(),
                            survivors.complaints.end());
  const std::string& lineage = survivors.chain.back().lineage;
  if (final_state.version.lineage != lineage) {
    verdict.complaints.push_back(absl::StrCat("the model's lineage is ",
                                              final_state.version.lineage,
                                              ", not ", lineage));
  }
  const int64_t missing =
      TakeOutLost(final_state.t, survivors.pushes, verdict.complaints);
  verdict.lost += missing;
  verdict.unreported += missing;
  verdict +=
      Search(subject, history, std::move(survivors), final_state, stored).Run();
  return verdict;
}

}  // namespace accrue::faults
