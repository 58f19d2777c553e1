// ModelImpl, steered from outside: hyperparameters, and cycles that end before
// they are full.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/model/model_impl.h"
#include "server/rule/groups.h"

namespace accrue {

void ModelImpl::UpdateHyperparameters(std::vector<HyperparameterUpdate> updates,
                                      std::function<void(absl::Status)> done) {
  Run([this, updates = std::move(updates), done = std::move(done)] {
    return DoUpdate(updates, done);
  });
}

bool ModelImpl::DoUpdate(const std::vector<HyperparameterUpdate>& updates,
                         std::function<void(absl::Status)> done) {
  absl::StatusOr<std::vector<rule::RuleSpec>> rules = ChangedRules(updates);
  if (!rules.ok()) {
    done(rules.status());
    return true;
  }
  HyperparameterChange change;
  for (const rule::RuleSpec& rule : *rules) change.groups.push_back(rule.hyper);
  return Commit(std::move(change),
                [this, rules = *std::move(rules),
                 done = std::move(done)](absl::Status durable) mutable {
                  {
                    MutexLock lock(&mu_);
                    if (durable.ok()) rules_ = std::move(rules);
                  }
                  done(std::move(durable));
                  return true;
                });
}

absl::StatusOr<std::vector<rule::RuleSpec>> ModelImpl::ChangedRules(
    const std::vector<HyperparameterUpdate>& updates) {
  // Nobody but the executor writes them: what takes long needs no lock.
  std::vector<rule::RuleSpec> rules;
  {
    MutexLock lock(&mu_);
    ACCRUE_RETURN_IF_ERROR(MayChange());
    rules = rules_;
  }
  const std::string why = ChangeRules(updates, rules);
  if (why.empty()) return rules;
  MutexLock lock(&mu_);
  return GateError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                   View(cycles_), why);
}

// Returns what is wrong, or nothing.
std::string ModelImpl::ChangeRules(
    const std::vector<HyperparameterUpdate>& updates,
    std::vector<rule::RuleSpec>& rules) const {
  absl::flat_hash_map<std::string, size_t> by_name;
  for (size_t g = 0; g < rules.size(); ++g) by_name[spec_.groups[g].name] = g;
  bool all = false;
  for (const HyperparameterUpdate& update : updates) {
    if (update.group.empty()) {
      if (std::exchange(all, true)) return "every group: changed twice";
      for (rule::RuleSpec& rule : rules) update.change(rule.hyper);
      continue;
    }
    const auto found = by_name.find(update.group);
    if (found == by_name.end()) {
      return absl::StrCat("no group \"", update.group, "\"");
    }
    update.change(rules[found->second].hyper);
  }
  for (size_t g = 0; g < rules.size(); ++g) {
    const std::string why = rule::ValidateRule(rules[g]);
    if (!why.empty()) {
      return absl::StrCat("group \"", spec_.groups[g].name, "\": ", why);
    }
  }
  const std::string why = rule::ValidateGroups(rules, spec_.max_staleness == 0);
  return why.empty() ? ValidateAdaptive(spec_, rules) : why;
}

void ModelImpl::EndCycle(std::optional<Version> version,
                         std::function<void(absl::StatusOr<EndedCycle>)> done) {
  Run([this, version = std::move(version), done = std::move(done)] {
    return DoEndCycle(version, done);
  });
}

bool ModelImpl::DoEndCycle(const std::optional<Version>& version,
                           const Closed& closed) {
  std::shared_ptr<Batch> batch;
  absl::Status why;
  EndedCycle nothing;
  {
    MutexLock lock(&mu_);
    why = MayChange();
    if (why.ok() && !version_.has_value()) {
      why = GateError(absl::StatusCode::kFailedPrecondition,
                      Reason::kNotInitialized, View(cycles_),
                      "it has no parameters yet");
    }
    if (why.ok()) {
      nothing.version = *version_;
      if (!version.has_value() || *version == *version_) {
        batch =
            std::make_shared<Batch>(NewBatch(rules_, cycles_, folded_pushes_));
        AddClose(rules_, /*all=*/true, *batch);
        TakeGathered(*batch);
      }
    }
  }
  if (!why.ok()) {
    closed(why);
    return true;
  }
  if (batch == nullptr || !batch->publishes()) {
    closed(std::move(nothing));
    return true;
  }
  return StartBatch(std::move(batch), closed);
}

void ModelImpl::NextWindow() {
  ++window_;
  window_pushes_ = 0;
  window_overdue_ = false;
  environment_.timers->Cancel(window_timer_);
  window_timer_ = TimerId();
}

// After a batch: a cycle may have begun, or have waited for min_pushes only.
void ModelImpl::WatchWindow() {
  if (window_pushes_ == 0 || replaying_ ||
      spec_.cycle_timeout == absl::InfiniteDuration()) {
    return;
  }
  if (window_overdue_) {
    if (window_pushes_ < spec_.min_pushes) return;
    window_overdue_ = false;
    queue_.push_front({nullptr, [this, version = *version_] {
                         return CloseWindow(version);
                       }});
  } else if (window_timer_ == TimerId()) {
    ArmWindowTimer();
  }
}

void ModelImpl::ArmWindowTimer() {
  std::weak_ptr<ModelImpl> weak = Self();
  window_timer_ = environment_.timers->At(absl::Now() + spec_.cycle_timeout,
                                          [weak, version = *version_] {
                                            if (auto self = weak.lock())
                                              self->OnCycleTimeout(version);
                                          });
}

void ModelImpl::OnCycleTimeout(const Version& version) {
  Run([this, version] { return CloseWindow(version); });
}

bool ModelImpl::CloseWindow(const Version& version) {
  std::shared_ptr<Batch> batch;
  {
    MutexLock lock(&mu_);
    if (version_ != version || window_pushes_ == 0 || !MayChange().ok()) {
      return true;
    }
    if (window_pushes_ < spec_.min_pushes) {
      window_overdue_ = true;
      return true;
    }
    batch = std::make_shared<Batch>(NewBatch(rules_, cycles_, folded_pushes_));
    AddClose(rules_, /*all=*/false, *batch);
    TakeGathered(*batch);
  }
  return StartBatch(std::move(batch),
                    [this, version](const absl::StatusOr<EndedCycle>& ended) {
                      if (!ended.ok()) RetryClose(version, ended.status());
                    });
}

// Nobody else would try again: the workers may all be waiting for this close.
void ModelImpl::RetryClose(const Version& version, const absl::Status& why) {
  {
    MutexLock lock(&mu_);
    if (version_ != version || !Usable().ok()) return;
    ArmWindowTimer();
  }
  ACCRUE_LOG(error,
             "model \"{}\": a cycle that has timed out could not be closed, "
             "next attempt in {}: {}",
             name(), absl::FormatDuration(spec_.cycle_timeout), why.message());
}

}  // namespace accrue
