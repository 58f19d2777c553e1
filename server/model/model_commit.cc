// ModelImpl, once a pass has ended: what it has changed, and who hears of it.
#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/fail_point.h"
#include "server/base/logging.h"
#include "server/model/model_impl.h"

namespace accrue {

void ModelImpl::FinishBatch(Batch& batch, const Closed& closed,
                            absl::StatusOr<kernels::PassResult> result) {
  if (!result.ok()) {
    Poison(result.status());
    FailBatch(batch, closed, DeviceFault(result.status()));
    return;
  }
  EndedCycle ended;
  std::shared_ptr<const Publication> news;
  // Kept past the lock: the last reference to a publication calls Unpark.
  const std::shared_ptr<const Publication> before = newest();
  std::vector<Held> gone;
  int64_t folded_pushes;
  {
    MutexLock lock(&mu_);
    gone = CommitBatch(batch, *result);
    if (batch.publishes()) news = newest_;
    ended.version = *version_;
    folded_pushes = folded_pushes_;
  }
  if (log_ != nullptr) log_->NoteFolded(ended.version, folded_pushes);
  AtFailPoint(FailPoint::kBatchFolded);
  // Its memory is free before anybody hears of it.
  batch.folding.clear();
  gone.clear();
  std::vector<Answer> answers;
  for (Batch::Item& item : batch.items) {
    answers.push_back({std::move(item.push), std::move(item.outcome)});
  }
  Reply(std::move(answers));
  for (size_t i = 0; i < batch.updated.size(); ++i) {
    const std::string& group = spec_.groups[batch.updated[i]].name;
    ended.closed_groups.push_back(group);
    ended.missing_pushes.push_back(batch.missing[i]);
    if (batch.missing[i] > 0) {
      ACCRUE_LOG(info, "model \"{}\", group \"{}\": cycle closed, {} missing",
                 name(), group, batch.missing[i]);
    }
  }
  LogKChanges(batch);
  if (closed) closed(std::move(ended));
  if (news != nullptr) Announce(std::move(news));
}

absl::Status ModelImpl::DeviceFault(const absl::Status& why) const {
  ErrorInfo info;
  info.reason = Reason::kDeviceFault;
  info.subject = name();
  return MakeError(
      absl::StatusCode::kInternal, info,
      absl::StrCat("model \"", name(), "\" is poisoned: ", why.message()));
}

void ModelImpl::FailBatch(Batch& batch, const Closed& closed,
                          absl::Status why) {
  {
    MutexLock lock(&mu_);
    why = WithVersion(why, View(cycles_));
  }
  batch.folding.clear();
  batch.held.clear();
  std::vector<Answer> answers;
  for (Batch::Item& item : batch.items) {
    answers.push_back({std::move(item.push), why});
  }
  Reply(std::move(answers));
  if (closed) closed(why);
}

std::vector<Held> ModelImpl::CommitBatch(Batch& batch,
                                         const kernels::PassResult& result) {
  window_pushes_ += batch.folded_pushes - folded_pushes_;
  cycles_ = std::move(batch.cycles);
  folded_pushes_ = batch.folded_pushes;
  for (const Batch::Item& item : batch.items) {
    received_bytes_ += item.push->header.payload_bytes;
    micro_steps_ = item.push->header.micro_steps;
    if (item.push->header.loss.has_value()) {
      loss_sum_ += *item.push->header.loss;
      ++loss_count_;
    }
  }
  for (size_t i = 0; i < batch.updated.size(); ++i) {
    const int32_t g = batch.updated[i];
    std::optional<double> squares;
    if (batch.measured[i]) squares = result.momentum_squares[g];
    CommitUpdate(g, result.clip_norms[g], squares);
  }
  AdaptK(batch);
  std::vector<Held> gone =
      gathering_.Advance(std::move(batch.held), batch.updated);
  // Deleted or poisoned meanwhile: nobody will fold them.
  if (!Usable().ok()) {
    std::vector<Held> rest = gathering_.Clear();
    std::move(rest.begin(), rest.end(), std::back_inserter(gone));
  }
  const Version old = *version_;
  if (batch.publishes()) Publish(batch);
  CommitOutcomes(batch, old);
  if (batch.publishes()) AbortStaleArrivals();
  WatchWindow();
  return gone;
}

void ModelImpl::CommitOutcomes(Batch& batch, const Version& old) {
  for (size_t i = 0; i < batch.items.size(); ++i) {
    Batch::Item& item = batch.items[i];
    const bool last = i + 1 == batch.items.size();
    item.outcome.published = last && batch.publishes();
    item.outcome.version = item.outcome.published ? *version_ : old;
    absl::StatusOr<Session*> session =
        sessions_.Find(item.push->header.session_id);
    if (!session.ok()) continue;  // expired since; no one can ask any more
    if (log_ == nullptr && AtFailPoint(FailPoint::kDropEntry)) continue;
    (*session)->last_sequence = item.push->header.sequence;
    (*session)->last_outcome = item.outcome;
    (*session)->last_hash = item.push->hash;
    (*session)->last_active = absl::Now();
    sessions_.CountPushes((*session)->worker, old.number,
                          item.push->header.micro_steps);
  }
}

void ModelImpl::CommitUpdate(int32_t group, double clip_norm,
                             std::optional<double> momentum_squares) {
  rule::CycleState& cycle = cycles_[group];
  clip_norms_[group] = clip_norm;
  rule::ApplyClip(rules_[group], clip_norm, cycle);
  if (!momentum_squares.has_value()) return;
  noise_[group].reset();
  const auto estimate =
      rule::EstimateNoise(cycle.noise.moment, *momentum_squares);
  if (!estimate.has_value()) return;
  noise_[group] = {
      *estimate,
      rule::CoefficientOfVariation(*estimate, layout_->group_elems()[group]),
      cycle.updates};
}

void ModelImpl::Publish(const Batch& batch) {
  Publication::Facts facts;
  facts.folded_pushes = folded_pushes_;
  facts.changed_groups = batch.updated;
  facts.group_versions = newest_->facts().group_versions;
  for (const Batch::Copy& copy : batch.copies) {
    next_[copy.group]->SetReady(copy.encoding);
  }
  std::vector<std::shared_ptr<GroupBuffer>> groups = newest_->groups();
  for (size_t i = 0; i < batch.updated.size(); ++i) {
    const int32_t g = batch.updated[i];
    groups[g] = std::move(next_[g]);
    next_[g] = nullptr;
    facts.group_versions[g] = version_->number + 1;
    facts.changed_bytes += layout_->group_elems()[g] * 4;
    facts.missing_pushes = std::max(facts.missing_pushes, batch.missing[i]);
  }
  if (facts.missing_pushes > 0) ++short_cycles_;
  last_loss_.reset();
  if (loss_count_ > 0)
    last_loss_ = loss_sum_ / static_cast<double>(loss_count_);
  facts.loss = last_loss_;
  loss_sum_ = 0;
  loss_count_ = 0;
  ++version_->number;
  facts.version = *version_;
  newest_ = store_->Publish(std::move(facts), std::move(groups));
  NextWindow();
}

// Once the sessions know of their folded pushes: a sequence that is folded by
// now is not stale but a repeat, and its sender learns its push's fate when the
// payload is here.
void ModelImpl::AbortStaleArrivals() {
  AbortArrivals([this](const Incoming& incoming) {
    mu_.AssertHeld();
    const GateView view = View(cycles_);
    if (!TooStale(incoming.version, view)) return absl::OkStatus();
    const auto session = sessions_.Find(incoming.session_id);
    if (session.ok() && incoming.sequence <= (*session)->last_sequence) {
      return absl::OkStatus();
    }
    return GateError(absl::StatusCode::kAborted, Reason::kStale, view,
                     absl::StrCat("gradient of version ", incoming.version,
                                  ", the newest is now ", version_->number));
  });
}

void ModelImpl::Poison(const absl::Status& why) {
  // What a pass has begun is nothing that another could go on with.
  for (auto& buffer : next_) buffer = nullptr;
  bool first;
  absl::Status poisoned;
  std::vector<Held> held;  // let go of without the lock
  {
    MutexLock lock(&mu_);
    first = poison_reason_.empty() && !deleted_;
    poison_reason_ = why.ToString();
    held = gathering_.Clear();
    poisoned = Usable();
    AbortArrivals([this](const Incoming&) {
      mu_.AssertHeld();
      return Usable();
    });
  }
  ACCRUE_LOG(error, "model \"{}\" is poisoned: {}", name(), why);
  if (!first) return;
  environment_.on_poison_change(true);
  Announce(poisoned);
}

void ModelImpl::Announce(
    absl::StatusOr<std::shared_ptr<const Publication>> news) {
  std::vector<std::shared_ptr<Subscription>> listeners;
  {
    MutexLock lock(&mu_);
    auto gone = std::remove_if(subscriptions_.begin(), subscriptions_.end(),
                               [&](const std::weak_ptr<Subscription>& weak) {
                                 std::shared_ptr<Subscription> subscription =
                                     weak.lock();
                                 if (subscription == nullptr) return true;
                                 listeners.push_back(std::move(subscription));
                                 return false;
                               });
    subscriptions_.erase(gone, subscriptions_.end());
  }
  for (const auto& listener : listeners) listener->notice(news);
}

}  // namespace accrue
