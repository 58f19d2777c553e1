// ModelImpl's executor: steps, and batches of pushes.
#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/fail_point.h"
#include "server/base/logging.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

// How long a thread that must not wait may drive: after as many steps the pool
// takes over.
constexpr int kInlineSteps = 16;

// |m|^2 costs little beside a pass whose moments are in the caches. Of larger
// groups it is asked for now and then only: what it is for changes slowly.
constexpr int64_t kMeasuredEveryTime = int64_t{1} << 20;
constexpr int64_t kMeasuredUpdates = 8;

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
  const bool is_push = step.push != nullptr;
  {
    MutexLock lock(&mu_);
    if (!Queue(std::move(step))) return;
  }
  HaveDriven(is_push);
}

bool ModelImpl::Queue(Step step) {
  queue_.push_back(std::move(step));
  return !std::exchange(driving_, true);
}

void ModelImpl::HaveDriven(bool is_push) {
  if (small_ && is_push) {
    Drive(/*may_wait=*/false);
  } else {
    environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
  }
}

void ModelImpl::Drive(bool may_wait) {
  for (int steps = 0;; ++steps) {
    Step step;
    std::shared_ptr<Batch> batch;
    std::vector<Answer> answers;
    {
      MutexLock lock(&mu_);
      if (queue_.empty() || AwaitsCompany()) {
        driving_ = false;
        return;
      }
      if (steps == kInlineSteps) break;
      if (queue_.front().push == nullptr) {
        if (!may_wait) break;
        step = std::move(queue_.front());
        queue_.pop_front();
      } else {
        batch = std::make_shared<Batch>(TakeBatch(answers));
      }
    }
    Reply(std::move(answers));
    if (gathers_ && batch != nullptr) {
      for (Batch::Item& item : batch->items) item.push->reservation.reset();
    }
    if (batch == nullptr) {
      if (!step.run()) return;
    } else if (!batch->items.empty()) {
      if (!StartBatch(std::move(batch), nullptr, may_wait)) return;
    }
  }
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

void ModelImpl::TakeGathered(Batch& batch) const {
  if (!gathers_ || !batch.publishes()) return;
  Batch::Gathered& gathered = batch.gathered.emplace();
  gathered.open = gathering_.OpenCycles(batch.updated, batch.held);
  for (const int32_t g : batch.updated) gathered.rules.push_back(rules_[g]);
}

Batch ModelImpl::TakeBatch(std::vector<Answer>& answers) {
  Batch batch = NewBatch(rules_, cycles_, folded_pushes_);
  while (!queue_.empty() && queue_.front().push != nullptr &&
         !batch.publishes()) {
    if (!Take(queue_.front().push, batch, answers)) break;
    queue_.pop_front();
  }
  TakeGathered(batch);
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
  absl::StatusOr<Passed> passed = Judge(push->header, view);
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
  if (gathers_) {
    Held held = HoldPush(*push, *passed, *ledger_);
    AddHeldPush(rules_, std::move(push), std::move(held), batch);
    return true;
  }
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

bool ModelImpl::StartBatch(std::shared_ptr<Batch> batch, Closed closed,
                           bool may_wait) {
  if (batch->gathered.has_value()) PlanGathered(*batch);
  const bool needs_room = batch->publishes() || !batch->looking_ahead.empty();
  if (!needs_room || store_->HasRoom()) {
    return RunBatch(std::move(batch), std::move(closed), may_wait);
  }
  return Park(
      {.go_on = [this, batch, closed] { return StartBatch(batch, closed); },
       .give_up =
           [this, batch, closed](const absl::Status& why) {
             FailBatch(*batch, closed, why);
           }});
}

// Returns false: the step goes on when there is room.
bool ModelImpl::Park(Parked step) {
  absl::Status why;
  {
    MutexLock lock(&mu_);
    parked_ = std::move(step);
    why = GateError(
        absl::StatusCode::kAborted, Reason::kSlowReader, View(cycles_),
        absl::StrCat("this version's memory is needed for a new one: "
                     "max_publications is ",
                     spec_.max_publications));
  }
  store_->EndOldestReaders(why);
  Unpark();  // room may have come in between
  return false;
}

void ModelImpl::Unpark() {
  std::optional<Parked> parked;
  {
    MutexLock lock(&mu_);
    if (!parked_.has_value() || !store_->HasRoom()) return;
    parked = std::exchange(parked_, std::nullopt);
  }
  environment_.pool->Post(lane_,
                          [self = Self(), go_on = std::move(parked->go_on)] {
                            if (go_on()) self->Drive();
                          });
}

// Whether the batch's buffers, and its copies, have the memory of older ones.
bool ModelImpl::HasMemory(const Batch& batch) {
  for (const auto* groups : {&batch.looking_ahead, &batch.updated}) {
    for (const int32_t g : *groups) {
      if (next_[g] == nullptr) next_[g] = store_->RecycledBuffer(g);
      if (next_[g] == nullptr) return false;
    }
  }
  return std::all_of(batch.copies.begin(), batch.copies.end(),
                     [this](const Batch::Copy& copy) {
                       return next_[copy.group]->HasRoom(copy.encoding);
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

void ModelImpl::AskForNoise(Batch& batch) const {
  for (int32_t g : batch.updated) {
    const bool measure = layout_->group_elems()[g] <= kMeasuredEveryTime ||
                         spec_.groups[g].adaptive_k.has_value() ||
                         batch.cycles[g].updates % kMeasuredUpdates == 0;
    batch.pass.groups[g].measure = measure;
    batch.measured.push_back(measure);
  }
}

// In the encodings in which readers have wanted the version before: by the next
// one they may all have gone, and then it is the last that is made for nobody.
void ModelImpl::AskForCopies(Batch& batch) const {
  const std::shared_ptr<const Publication> newest = this->newest();
  batch.copies.clear();
  for (const int32_t g : batch.updated) {
    for (const auto encoding : newest->groups()[g]->asked_for()) {
      batch.copies.push_back({g, encoding});
    }
  }
}

void ModelImpl::GiveCopies(Batch& batch) const {
  std::erase_if(batch.copies, [&](const Batch::Copy& copy) {
    std::byte* const out = next_[copy.group]->Room(copy.encoding);
    if (out == nullptr) return true;  // who asks for it will learn why
    batch.pass.groups[copy.group].encoded.push_back({copy.encoding, out});
    return false;
  });
}

bool ModelImpl::RunBatch(std::shared_ptr<Batch> batch, Closed closed,
                         bool may_wait) {
  AskForCopies(*batch);
  if (!may_wait && !HasMemory(*batch)) {
    environment_.pool->Post(lane_, [self = Self(), batch, closed] {
      if (self->RunBatch(batch, closed, /*may_wait=*/true)) self->Drive();
    });
    return false;
  }
  if (absl::Status status = GiveBuffers(*batch); !status.ok()) {
    // Nothing was folded yet: what is only short of memory goes on.
    if (absl::IsResourceExhausted(status)) {
      FailBatch(*batch, closed, status);
    } else {
      FinishBatch(*batch, closed, status);
    }
    return true;
  }
  BatchChange change{.batch = batch, .k = {}, .version = {}};
  {
    MutexLock lock(&mu_);
    batch->recent_micro_steps = recent_micro_steps_;
    for (const rule::RuleSpec& rule : rules_) change.k.push_back(rule.k);
    change.version = *version_;
    change.folded_pushes = folded_pushes_;
  }
  if (log_ == nullptr || !log_->journals()) return FoldBatch(batch, closed);
  AtFailPoint(FailPoint::kBatchPlanned);
  return Commit(std::move(change), [this, batch, closed](absl::Status durable) {
    if (durable.ok()) return FoldBatch(batch, closed);
    FailBatch(*batch, closed, std::move(durable));
    return true;
  });
}

bool ModelImpl::Commit(Change change,
                       absl::AnyInvocable<bool(absl::Status)> make) {
  const bool anew = std::holds_alternative<BeginChange>(change) ||
                    std::holds_alternative<RestoreChange>(change);
  if (log_ == nullptr) return make(absl::OkStatus());
  if (!anew && !log_->journals()) {
    log_->NoteChange();
    return make(absl::OkStatus());
  }
  log_->Append(std::move(change), [self = Self(), make = std::move(make)](
                                      absl::Status durable) mutable {
    if (make(std::move(durable))) self->Drive();
  });
  return false;
}

// What it folds, and writes to, is there.
bool ModelImpl::FoldBatch(std::shared_ptr<Batch> batch, Closed closed) {
  if (!batch->folds()) {
    FinishBatch(*batch, closed, kernels::PassResult());
    return true;
  }
  AskForNoise(*batch);
  GiveCopies(*batch);
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

}  // namespace accrue
