// ModelImpl's executor: steps, batches, publication.
#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

// How long a thread that must not wait may drive: after as many steps the pool
// takes over.
constexpr int kInlineSteps = 16;

// Tells the two ends of an operation that may finish before it returns which of
// them is the second, and so goes on: exactly one is.
class Rendezvous {
 public:
  bool IsSecond() { return met_.exchange(true, std::memory_order_acq_rel); }

 private:
  std::atomic<bool> met_{false};
};

}  // namespace

void ModelImpl::Enqueue(Step step) {
  const bool here = small_ && step.push != nullptr;
  {
    MutexLock lock(&mu_);
    queue_.push_back(std::move(step));
    if (driving_) return;
    driving_ = true;
  }
  if (here) {
    Drive();
  } else {
    environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
  }
}

void ModelImpl::Drive() {
  for (int steps = 0;; ++steps) {
    Step step;
    std::shared_ptr<Batch> batch;
    std::vector<Answer> answers;
    {
      MutexLock lock(&mu_);
      if (queue_.empty()) {
        driving_ = false;
        return;
      }
      if (steps == kInlineSteps) break;
      if (queue_.front().push == nullptr) {
        step = std::move(queue_.front());
        queue_.pop_front();
      } else {
        batch = std::make_shared<Batch>(TakeBatch(answers));
      }
    }
    Reply(std::move(answers));
    if (batch == nullptr) {
      if (!step.run()) return;
    } else if (!batch->items.empty()) {
      if (!StartBatch(std::move(batch), nullptr)) return;
    }
  }
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

Batch ModelImpl::TakeBatch(std::vector<Answer>& answers) {
  Batch batch = NewBatch(rules_, cycles_, folded_pushes_);
  while (!queue_.empty() && queue_.front().push != nullptr &&
         !batch.publishes()) {
    if (!Take(queue_.front().push, batch, answers)) break;
    queue_.pop_front();
  }
  return batch;
}

// Judges a push at the moment of its fold. False: it must wait for this batch.
bool ModelImpl::Take(std::unique_ptr<Push>& push, Batch& batch,
                     std::vector<Answer>& answers) {
  for (const Batch::Item& item : batch.items) {
    if (item.push->header.session_id == push->header.session_id) return false;
  }
  auto refuse = [&](absl::Status why) {
    answers.push_back({std::move(push), std::move(why)});
    return true;
  };
  if (absl::Status usable = Usable(); !usable.ok()) return refuse(usable);
  const GateView view = View(batch.cycles);
  absl::StatusOr<Passed> passed = JudgeHeader(push->header, view);
  if (!passed.ok()) return refuse(passed.status());
  if (passed->repeats) {
    absl::Status same = JudgeRepeat(push->hash, *passed, view);
    if (!same.ok()) return refuse(same);
    PushOutcome outcome = *passed->session->last_outcome;
    outcome.duplicate = true;
    answers.push_back({std::move(push), std::move(outcome)});
    return true;
  }
  absl::Status sound = JudgePayload(*push, *passed, view);
  if (!sound.ok()) return refuse(sound);
  AddPush(rules_, std::move(push), passed->weight, passed->gain_factor, batch);
  return true;
}

void ModelImpl::Reply(std::vector<Answer> answers) {
  for (Answer& answer : answers) {
    PushDone done = std::move(answer.push->done);
    answer.push.reset();  // its memory is free before anybody hears of it
    done(std::move(answer.outcome));
  }
}

bool ModelImpl::StartBatch(std::shared_ptr<Batch> batch, Closed closed) {
  const bool needs_room = batch->publishes() || !batch->looking_ahead.empty();
  if (!needs_room || store_->HasRoom()) {
    return RunBatch(std::move(batch), std::move(closed));
  }
  ErrorInfo info;
  info.reason = Reason::kSlowReader;
  info.subject = name();
  {
    MutexLock lock(&mu_);
    parked_ = std::move(batch);
    parked_closed_ = std::move(closed);
    info.current_version = version_->number;
    info.lineage = version_->lineage;
  }
  store_->EndOldestReaders(MakeError(
      absl::StatusCode::kAborted, info,
      absl::StrCat("model \"", name(),
                   "\": this version's memory is needed for a new one: "
                   "max_publications is ",
                   spec_.max_publications)));
  Unpark();  // room may have come in between
  return false;
}

void ModelImpl::Unpark() {
  std::shared_ptr<Batch> batch;
  Closed closed;
  {
    MutexLock lock(&mu_);
    if (parked_ == nullptr || !store_->HasRoom()) return;
    batch = std::move(parked_);
    parked_ = nullptr;
    closed = std::move(parked_closed_);
    parked_closed_ = nullptr;
  }
  environment_.pool->Post(lane_, [self = Self(), batch = std::move(batch),
                                  closed = std::move(closed)]() mutable {
    if (self->StartBatch(std::move(batch), std::move(closed))) {
      self->Drive();
    }
  });
}

absl::Status ModelImpl::GiveBuffers(Batch& batch) {
  std::shared_ptr<const Publication> newest = this->newest();
  auto give = [&](int32_t g) -> absl::Status {
    if (next_[g] == nullptr) {
      absl::StatusOr<std::shared_ptr<GroupBuffer>> buffer =
          store_->NewBuffer(g);
      if (!buffer.ok()) return buffer.status();
      next_[g] = *std::move(buffer);
    }
    batch.pass.groups[g].theta = newest->group(g);
    batch.pass.groups[g].next = next_[g]->floats();
    return absl::OkStatus();
  };
  for (int32_t g : batch.looking_ahead) {
    if (absl::Status status = give(g); !status.ok()) return status;
  }
  for (int32_t g : batch.updated) {
    if (absl::Status status = give(g); !status.ok()) return status;
  }
  return absl::OkStatus();
}

bool ModelImpl::RunBatch(std::shared_ptr<Batch> batch, Closed closed) {
  if (absl::Status status = GiveBuffers(*batch); !status.ok()) {
    FailBatch(*batch, closed, status);  // nothing was folded yet
    return true;
  }
  auto meeting = std::make_shared<Rendezvous>();
  kernels::Pass pass = std::move(batch->pass);
  shard_->Run(std::move(pass),
              [self = Self(), batch, closed = std::move(closed),
               meeting](absl::StatusOr<kernels::PassResult> result) {
                self->FinishBatch(*batch, closed, std::move(result));
                if (meeting->IsSecond()) self->Drive();
              });
  return meeting->IsSecond();
}

void ModelImpl::FailBatch(Batch& batch, const Closed& closed,
                          absl::Status why) {
  std::vector<Answer> answers;
  for (Batch::Item& item : batch.items) {
    answers.push_back({std::move(item.push), why});
  }
  Reply(std::move(answers));
  if (closed) closed(why);
}

void ModelImpl::FinishBatch(Batch& batch, const Closed& closed,
                            absl::StatusOr<kernels::PassResult> result) {
  if (!result.ok()) {
    Poison(result.status());
    ErrorInfo info;
    info.reason = Reason::kDeviceFault;
    info.subject = name();
    FailBatch(batch, closed,
              MakeError(absl::StatusCode::kInternal, info,
                        absl::StrCat("model \"", name(), "\" is poisoned: ",
                                     result.status().message())));
    return;
  }
  EndedCycle ended;
  std::shared_ptr<const Publication> news;
  // Kept past the lock: the last reference to a publication calls Unpark.
  const std::shared_ptr<const Publication> before = newest();
  {
    MutexLock lock(&mu_);
    Commit(batch, *result);
    if (batch.publishes()) news = newest_;
    ended.version = *version_;
  }
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
  if (closed) closed(std::move(ended));
  if (news != nullptr) Announce(std::move(news));
}

void ModelImpl::Commit(Batch& batch, const kernels::PassResult& result) {
  const int64_t before = version_->number;
  window_pushes_ += batch.folded_pushes - folded_pushes_;
  cycles_ = std::move(batch.cycles);
  folded_pushes_ = batch.folded_pushes;
  for (const Batch::Item& item : batch.items) {
    received_bytes_ += item.push->payload.size_bytes();
    if (item.push->header.loss.has_value()) {
      loss_sum_ += *item.push->header.loss;
      ++loss_count_;
    }
  }
  for (int32_t g : batch.updated) clip_norms_[g] = result.clip_norms[g];
  const Version old = *version_;
  if (batch.publishes()) Publish(batch);
  for (size_t i = 0; i < batch.items.size(); ++i) {
    Batch::Item& item = batch.items[i];
    const bool last = i + 1 == batch.items.size();
    item.outcome.published = last && batch.publishes();
    item.outcome.version = item.outcome.published ? *version_ : old;
    absl::StatusOr<Session*> session =
        sessions_.Find(item.push->header.session_id);
    if (!session.ok()) continue;  // expired since; no one can ask any more
    (*session)->last_sequence = item.push->header.sequence;
    (*session)->last_outcome = item.outcome;
    (*session)->last_hash = item.push->hash;
    (*session)->last_active = absl::Now();
    if ((*session)->quota_version != before) (*session)->quota_pushes = 0;
    (*session)->quota_version = before;
    (*session)->quota_pushes += item.push->header.micro_steps;
  }
  WatchWindow();
}

void ModelImpl::Publish(const Batch& batch) {
  Publication::Facts facts;
  facts.folded_pushes = folded_pushes_;
  facts.changed_groups = batch.updated;
  std::vector<std::shared_ptr<GroupBuffer>> groups = newest_->groups();
  for (size_t i = 0; i < batch.updated.size(); ++i) {
    const int32_t g = batch.updated[i];
    groups[g] = std::move(next_[g]);
    next_[g] = nullptr;
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
  ++window_;
  window_pushes_ = 0;
  window_overdue_ = false;
  environment_.timers->Cancel(window_timer_);
  window_timer_ = TimerId();
  AbortArrivals([this](const Incoming& incoming) {
    mu_.AssertHeld();
    const GateView view = View(cycles_);
    if (!TooStale(incoming.version, view)) return absl::OkStatus();
    return GateError(absl::StatusCode::kAborted, Reason::kStale, view,
                     absl::StrCat("gradient of version ", incoming.version,
                                  ", the newest is now ", version_->number));
  });
}

// After a batch: a cycle may have begun, or have waited for min_pushes only.
void ModelImpl::WatchWindow() {
  if (window_pushes_ == 0 || spec_.cycle_timeout == absl::InfiniteDuration()) {
    return;
  }
  const int64_t window = window_;
  std::weak_ptr<ModelImpl> weak = Self();
  if (window_overdue_) {
    if (window_pushes_ < spec_.min_pushes) return;
    window_overdue_ = false;
    queue_.push_front(
        {nullptr, [this, window] { return CloseWindow(window); }});
  } else if (window_timer_ == TimerId()) {
    window_timer_ = environment_.timers->At(absl::Now() + spec_.cycle_timeout,
                                            [weak, window] {
                                              if (auto self = weak.lock())
                                                self->OnCycleTimeout(window);
                                            });
  }
}

void ModelImpl::OnCycleTimeout(int64_t window) {
  Run([this, window] { return CloseWindow(window); });
}

bool ModelImpl::CloseWindow(int64_t window) {
  std::shared_ptr<Batch> batch;
  {
    MutexLock lock(&mu_);
    if (window != window_ || window_pushes_ == 0 || !Usable().ok()) return true;
    if (window_pushes_ < spec_.min_pushes) {
      window_overdue_ = true;
      return true;
    }
    batch = std::make_shared<Batch>(NewBatch(rules_, cycles_, folded_pushes_));
    AddClose(rules_, /*all=*/false, *batch);
  }
  return StartBatch(std::move(batch), nullptr);
}

bool ModelImpl::DoEndCycle(const std::optional<Version>& version,
                           const Closed& closed) {
  std::shared_ptr<Batch> batch;
  absl::Status why;
  EndedCycle nothing;
  {
    MutexLock lock(&mu_);
    why = Usable();
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

void ModelImpl::Poison(const absl::Status& why) {
  {
    MutexLock lock(&mu_);
    poison_reason_ = why.ToString();
  }
  ACCRUE_LOG(error, "model \"{}\" is poisoned: {}", name(), why);
  ErrorInfo info;
  info.reason = Reason::kPoisoned;
  info.subject = name();
  Announce(MakeError(absl::StatusCode::kFailedPrecondition, info,
                     absl::StrCat("model \"", name(), "\" is poisoned")));
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
