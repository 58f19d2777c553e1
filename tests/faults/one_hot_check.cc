#include "tests/faults/one_hot_check.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace accrue::faults {
namespace {

using Outcome = PushRecord::Outcome;

constexpr double kGain = 0x1p-3;          // 2^-s
constexpr double kLearningRate = 0x1p-2;  // 2^-a

// How often an element's pushes may have been folded.
struct Range {
  int64_t least = 0, most = 0;
};

std::vector<Range> ExpectedFolds(size_t elems, const History& history,
                                 const Survivors& survivors) {
  std::vector<Range> ranges(elems);
  for (const PushRecord& push : survivors.pushes) {
    ++ranges.at(push.seed).least;
    ++ranges.at(push.seed).most;
  }
  for (const PushRecord& push : history.pushes()) {
    if (survivors.MayHold(push)) ++ranges.at(push.seed).most;
  }
  return ranges;
}

}  // namespace

client::ModelSpec OneHotSpec(const std::string& name, int64_t k,
                             int64_t elems) {
  client::ModelSpec spec;
  spec.name = name;
  spec.tensors = {{.name = "counts", .shape = {elems}, .group = "all"}};
  spec.groups = {
      {.name = "all",
       .k = k,
       .hyperparameters = {.learning_rate = kLearningRate,
                           .beta1 = 0,
                           .dampening = 1.0 - static_cast<double>(k) * kGain}}};
  spec.optimizer.optimizer = client::Optimizer::kSgd;
  spec.max_staleness = -1;
  return spec;
}

Verdict CheckOneHot(const Subject& subject, const History& history,
                    const std::vector<Rollback>& rollbacks,
                    const FinalState& final_state) {
  const Survivors survivors =
      FindSurvivors(history.pushes(), subject, rollbacks);
  Verdict verdict = {.acked = history.acknowledged(),
                     .duplicates = history.duplicates(),
                     .unknown = history.unknown(),
                     .unreported = survivors.unreported,
                     .complaints = history.complaints()};
  verdict.lost = verdict.acked - static_cast<int64_t>(survivors.pushes.size());
  const std::vector<Range> ranges =
      ExpectedFolds(final_state.theta.size(), history, survivors);
  int64_t all = 0;
  for (size_t e = 0; e < ranges.size(); ++e) {
    const double exact =
        -static_cast<double>(final_state.theta[e]) / (kGain * kLearningRate);
    const auto folds = static_cast<int64_t>(std::llround(exact));
    all += folds;
    if (exact == static_cast<double>(folds) && folds >= ranges[e].least &&
        folds <= ranges[e].most) {
      continue;
    }
    verdict.complaints.push_back(
        absl::StrCat("element ", e, " was folded ", exact, " times, want ",
                     ranges[e].least, " to ", ranges[e].most));
    const int64_t missing = std::max<int64_t>(0, ranges[e].least - folds);
    verdict.lost += missing;
    verdict.unreported += missing;
    verdict.twice += std::max<int64_t>(0, folds - ranges[e].most);
    if (exact != static_cast<double>(folds)) {
      verdict.mismatched_bytes += sizeof(float);
    }
  }
  if (all != final_state.t) {
    verdict.complaints.push_back(
        absl::StrCat("t is ", final_state.t, " after ", all, " folds"));
  }
  return verdict;
}

}  // namespace accrue::faults
