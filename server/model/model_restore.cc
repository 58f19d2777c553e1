// ModelImpl, going on from a stored state, and from what was appended since.
#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/model/model_arrays.h"
#include "server/model/model_impl.h"

namespace accrue {
namespace {

// Pieces of one array that one chunk of the pool's work reads.
struct ArrayPieces {
  StateArray array;
  int64_t begin;
  int64_t end;
};

// A device takes one array's pieces one after another.
std::vector<ArrayPieces> CutArrays(const std::vector<StateArray>& arrays,
                                   const StateSource& source, int64_t elems,
                                   const Device& device) {
  const int64_t pieces = (elems + kStatePieceElems - 1) / kStatePieceElems;
  const int64_t step = device.allocates_host_memory() ? 1 : pieces;
  std::vector<ArrayPieces> work;
  for (const StateArray array : arrays) {
    if (!source.Has(array)) continue;
    for (int64_t begin = 0; begin < pieces; begin += step) {
      work.push_back({array, begin, begin + step});
    }
  }
  return work;
}

// Others have the thread's place while it waits for the disk.
absl::Status ReadFrom(const StateSource& source, StateArray array,
                      int64_t piece, absl::Span<float> out) {
  const WorkPool::Waiting waiting;
  return source.Read(array, piece, out);
}

}  // namespace

void ModelImpl::Restore(StoredModel stored,
                        std::function<void(absl::Status)> done) {
  auto restoring = std::make_shared<Restoring>();
  restoring->from = std::move(stored);
  restoring->done = std::move(done);
  {
    MutexLock lock(&mu_);
    replaying_ = true;
  }
  Run([this, restoring = std::move(restoring)] {
    return DoRestore(restoring);
  });
}

void ModelImpl::Attach(std::shared_ptr<CommitLog> log) {
  log_ = std::move(log);
  MutexLock lock(&mu_);
  if (std::exchange(replaying_, false)) {
    restored_folded_pushes_ = folded_pushes_;
  }
  // Until now nobody could keep them alive.
  sessions_.Touch(absl::Now());
  WatchWindow();
}

bool ModelImpl::DoRestore(const RestoringPtr& restoring) {
  if (!restoring->from.source->state().version.has_value()) {
    TakeState(restoring);
  } else if (absl::Status made = MakeRestored(*restoring); !made.ok()) {
    EndRestore(*restoring, std::move(made));
  } else {
    FillArrays(restoring);
  }
  return false;
}

void ModelImpl::GoBack(std::shared_ptr<const StateSource> source,
                       std::function<void(absl::StatusOr<Version>)> done) {
  auto restoring = std::make_shared<Restoring>();
  restoring->from.source = std::move(source);
  restoring->from.version.lineage = RandomId();
  restoring->back = true;
  restoring->done = [done = std::move(done),
                     &version = restoring->from.version](absl::Status status) {
    if (status.ok()) return done(version);
    done(std::move(status));
  };
  Run([this, restoring = std::move(restoring)] { return DoGoBack(restoring); });
}

absl::Status ModelImpl::CheckGoesBack(const StateSource& source) const {
  MutexLock lock(&mu_);
  // Poisoned ones may.
  if (deleted_) return Usable();
  ACCRUE_RETURN_IF_ERROR(Draining());
  if (source.state().version.has_value()) return absl::OkStatus();
  return GateError(absl::StatusCode::kFailedPrecondition,
                   Reason::kNotInitialized, View(cycles_),
                   "there are no parameters in this checkpoint");
}

// Its memory first, then the disk, then the model: what fails before the last
// has changed nothing.
bool ModelImpl::DoGoBack(const RestoringPtr& restoring) {
  const StateSource& source = *restoring->from.source;
  if (absl::Status may = CheckGoesBack(source); !may.ok()) {
    restoring->done(std::move(may));
    return true;
  }
  if (!store_->HasRoom()) {
    return Park(
        {.go_on = [this, restoring] { return DoGoBack(restoring); },
         .give_up =
             [restoring](const absl::Status& why) { restoring->done(why); }});
  }
  if (absl::Status made = MakeRestored(*restoring); !made.ok()) {
    EndRestore(*restoring, std::move(made));
    return false;
  }
  restoring->from.version.number = source.state().version->number;
  RestoreChange change;
  change.state = source.state();
  change.state.version = restoring->from.version;
  change.state.is_beginning = true;
  {
    MutexLock lock(&mu_);
    change.state.sessions = SessionStates();
    change.state.fenced_sessions = sessions_.fenced();
  }
  change.source = restoring->from.source;
  return Commit(std::move(change), [this, restoring](absl::Status durable) {
    if (!durable.ok()) {
      EndRestore(*restoring, std::move(durable));
      return false;
    }
    ResetShard([this, restoring](absl::Status reset) {
      if (!reset.ok()) return FailRestore(*restoring, std::move(reset));
      FillArrays(restoring);
    });
    return false;
  });
}

absl::Status ModelImpl::MakeRestored(Restoring& restoring) {
  const TrainingState& state = restoring.from.source->state();
  ACCRUE_RETURN_IF_ERROR(NewBuffers(restoring.groups));
  restoring.next.resize(state.groups.size());
  for (size_t g = 0; g < state.groups.size(); ++g) {
    if (!state.groups[g].looks_ahead) continue;
    ACCRUE_ASSIGN_OR_RETURN(restoring.next[g],
                            store_->NewBuffer(static_cast<int>(g)));
  }
  const WorkPool::Waiting waiting;  // for the disk
  for (size_t i = 0; i < state.held.size(); ++i) {
    const HeldPushState& push = state.held[i];
    auto held = std::make_shared<HeldPush>();
    held->worker = push.worker;
    held->encoding = push.encoding;
    held->facts = push.facts;
    held->group_square_sums = push.group_square_sums;
    ACCRUE_ASSIGN_OR_RETURN(held->payload, restoring.from.source->ReadHeld(
                                               static_cast<int64_t>(i)));
    ChargeHeld(*held, *ledger_);
    restoring.held.push_back(std::move(held));
  }
  return absl::OkStatus();
}

void ModelImpl::FillArrays(const RestoringPtr& restoring) {
  std::vector<StateArray> arrays = ShardArrays(spec_);
  arrays.push_back(StateArray::kParameters);
  arrays.push_back(StateArray::kLookAhead);
  auto work = std::make_shared<std::vector<ArrayPieces>>(CutArrays(
      arrays, *restoring->from.source, layout_->elems(), shard_->device()));
  const auto count = static_cast<int64_t>(work->size());
  auto next = std::make_shared<std::atomic<int64_t>>(0);
  auto fill = [this, work, next, restoring](int64_t) {
    while (true) {
      const int64_t i = next->fetch_add(1);
      if (i >= std::ssize(*work)) return;
      const ArrayPieces& pieces = (*work)[static_cast<size_t>(i)];
      for (int64_t piece = pieces.begin; piece < pieces.end; ++piece) {
        absl::Status filled = RestorePiece(*restoring, pieces.array, piece);
        if (filled.ok()) continue;
        MutexLock lock(&restoring->mu);
        restoring->status.Update(filled);
        return;
      }
    }
  };
  // While they wait for the disk others work: so many at once, and no more.
  const int64_t readers =
      std::min<int64_t>(count, environment_.pool->thread_count());
  environment_.pool->Run(
      lane_, readers, std::move(fill),
      [self = Self(), restoring] { self->LoadParameters(restoring); });
}

absl::Status ModelImpl::RestorePiece(const Restoring& restoring,
                                     StateArray array, int64_t piece) {
  const StateSource& source = *restoring.from.source;
  if (array == StateArray::kParameters) {
    return ReadPiece(source, array, piece, restoring.groups);
  }
  if (array == StateArray::kLookAhead) {
    return ReadPiece(source, array, piece, restoring.next);
  }
  const int64_t offset = piece * kStatePieceElems;
  const int64_t elems = std::min(kStatePieceElems, layout_->elems() - offset);
  const std::unique_ptr<float[]> floats(new float[static_cast<size_t>(elems)]);
  const absl::Span<float> values(floats.get(), static_cast<size_t>(elems));
  ACCRUE_RETURN_IF_ERROR(ReadFrom(source, array, piece, values));
  return shard_->Write(ShardArray(array), offset, values);
}

absl::Status ModelImpl::ReadPiece(
    const StateSource& source, StateArray array, int64_t piece,
    const std::vector<std::shared_ptr<GroupBuffer>>& groups) {
  const int64_t offset = piece * kStatePieceElems;
  const int64_t elems = std::min(kStatePieceElems, layout_->elems() - offset);
  const std::unique_ptr<float[]> floats(new float[static_cast<size_t>(elems)]);
  const absl::Span<float> values(floats.get(), static_cast<size_t>(elems));
  ACCRUE_RETURN_IF_ERROR(ReadFrom(source, array, piece, values));
  for (const LayoutRun& run : layout_->Runs(offset, elems)) {
    const auto& buffer = groups[static_cast<size_t>(run.group)];
    if (buffer == nullptr) continue;
    std::copy_n(values.data() + (run.offset - offset), run.elems,
                buffer->floats() + run.group_offset);
  }
  return absl::OkStatus();
}

void ModelImpl::LoadParameters(const RestoringPtr& restoring) {
  absl::Status filled;
  {
    MutexLock lock(&restoring->mu);
    filled = restoring->status;
  }
  if (!filled.ok()) return FailRestore(*restoring, std::move(filled));
  std::vector<const float*> groups;
  for (size_t g = 0; g < restoring->groups.size(); ++g) {
    const auto& half_way = restoring->next[g];
    groups.push_back(
        (half_way != nullptr ? half_way : restoring->groups[g])->floats());
  }
  shard_->Load(std::move(groups),
               [self = Self(), restoring](absl::Status loaded) {
                 if (!loaded.ok()) {
                   return self->FailRestore(*restoring, std::move(loaded));
                 }
                 if (restoring->back) return self->TakeBack(restoring);
                 self->TakeState(restoring);
               });
}

void ModelImpl::TakeState(const RestoringPtr& restoring) {
  const TrainingState& state = restoring->from.source->state();
  {
    MutexLock lock(&mu_);
    TakeCounts(state);
    lost_pushes_ = restoring->from.lost_pushes;
    loss_uncertain_ = restoring->from.loss_uncertain;
    // Their owners are to end, in any lineage.
    for (const std::string& id : state.fenced_sessions) sessions_.Fence(id);
    if (!state.version.has_value() ||
        state.version->lineage == restoring->from.version.lineage) {
      for (const SessionState& session : state.sessions) TakeSession(session);
    }
    if (state.version.has_value()) {
      version_ = restoring->from.version;
      TakePublication(*restoring);
    }
  }
  EndRestore(*restoring, absl::OkStatus());
}

// All that is on its way is of the old lineage.
void ModelImpl::TakeBack(const RestoringPtr& restoring) {
  std::shared_ptr<const Publication> news;
  // Kept past the lock: the last reference to a publication calls Unpark.
  const std::shared_ptr<const Publication> before = newest();
  std::vector<Held> held;
  bool poisoned = false;
  absl::Status gone;
  {
    MutexLock lock(&mu_);
    if (deleted_) {
      gone = Usable();
    } else {
      poisoned = CountsAsPoisoned();
      held = gathering_.Clear();
      StartAnew();
      TakeCounts(restoring->from.source->state());
      version_ = restoring->from.version;
      TakePublication(*restoring);
      AbortArrivals([this](const Incoming&) {
        mu_.AssertHeld();
        return GateError(absl::StatusCode::kAborted, Reason::kLineageChanged,
                         View(cycles_), "it was restored from a checkpoint");
      });
      news = newest_;
      WatchWindow();
    }
  }
  if (!gone.ok()) return EndRestore(*restoring, std::move(gone));
  ACCRUE_LOG(info, "model \"{}\": restored to version {}, t={}, in lineage {}",
             name(), restoring->from.version.number,
             news->facts().folded_pushes, restoring->from.version.lineage);
  if (poisoned) environment_.on_poison_change(false);
  Announce(std::move(news));
  EndRestore(*restoring, absl::OkStatus());
}

void ModelImpl::TakeCounts(const TrainingState& state) {
  for (size_t g = 0; g < rules_.size(); ++g) {
    const GroupState& group = state.groups[g];
    rules_[g].hyper = group.hyper;
    rules_[g].k = group.k;
    rules_[g].update_every = group.update_every;
    cycles_[g] = group.cycle;
    clip_norms_[g] = group.clip_norm;
    noise_[g] = group.noise;
  }
  folded_pushes_ = state.folded_pushes;
  window_ = state.window;
  window_pushes_ = state.window_pushes;
  loss_sum_ = state.loss_sum;
  loss_count_ = state.loss_count;
  last_loss_ = state.last_loss;
  short_cycles_ = state.short_cycles;
  received_bytes_ = state.received_bytes;
  micro_steps_ = state.micro_steps;
  for (const auto& [micro_steps, window] : state.recent_micro_steps) {
    recent_micro_steps_.Note(micro_steps, window);
  }
  k_changes_.assign(state.k_changes.begin(), state.k_changes.end());
  if (!state.version.has_value()) return;
  // In any lineage: what they pushed is in the open cycles.
  for (const auto& [worker, pushes] : state.pushes_this_version) {
    sessions_.CountPushes(worker, state.version->number, pushes);
  }
}

void ModelImpl::TakeSession(const SessionState& state) {
  Session& session =
      *sessions_.Open(state.worker, state.id, absl::Now()).session;
  session.last_sequence = state.last_sequence;
  session.last_outcome = state.last_outcome;
  session.last_hash = state.last_hash;
}

void ModelImpl::TakePublication(Restoring& restoring) {
  const TrainingState& state = restoring.from.source->state();
  Gathering::Open held;
  held.pushes = std::move(restoring.held);
  Publication::Facts facts;
  facts.version = *version_;
  facts.folded_pushes = state.published_folded_pushes;
  facts.loss = state.last_loss;
  facts.changed_bytes = layout_->elems() * int64_t{sizeof(float)};
  for (size_t g = 0; g < state.groups.size(); ++g) {
    facts.changed_groups.push_back(static_cast<int32_t>(g));
    facts.group_versions.push_back(state.groups[g].version);
    held.begins.push_back(static_cast<size_t>(state.groups[g].gather_begin));
  }
  gathering_.Restore(std::move(held));
  next_ = std::move(restoring.next);
  newest_ = store_->Publish(std::move(facts), std::move(restoring.groups));
}

// Half of it may be there already.
void ModelImpl::FailRestore(Restoring& restoring, absl::Status why) {
  if (restoring.back) {
    Poison(why);
    if (!absl::IsDataLoss(why)) why = DeviceFault(why);
  }
  EndRestore(restoring, std::move(why));
}

void ModelImpl::EndRestore(Restoring& restoring, absl::Status status) {
  restoring.groups.clear();
  restoring.next.clear();
  restoring.held.clear();
  restoring.done(std::move(status));
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

void ModelImpl::Replay(Change change, std::function<void(absl::Status)> done) {
  Run([this, change = std::move(change), done = std::move(done)] {
    return DoReplay(change, done);
  });
}

bool ModelImpl::DoReplay(const Change& change,
                         const std::function<void(absl::Status)>& done) {
  if (const auto* batch = std::get_if<BatchChange>(&change)) {
    return ReplayBatch(*batch, done);
  }
  {
    MutexLock lock(&mu_);
    if (const auto* open = std::get_if<SessionOpenChange>(&change)) {
      sessions_.Open(open->worker, open->id, absl::Now());
    } else if (const auto* close = std::get_if<SessionCloseChange>(&change)) {
      for (const std::string& id : close->ids) sessions_.Close(id);
    } else if (const auto* hyper = std::get_if<HyperparameterChange>(&change)) {
      for (size_t g = 0; g < rules_.size(); ++g) {
        rules_[g].hyper = hyper->groups[g];
      }
    }
  }
  done(absl::OkStatus());
  return true;
}

absl::Status ModelImpl::CheckFollows(const BatchChange& change) const {
  MutexLock lock(&mu_);
  if (version_ == change.version && folded_pushes_ == change.folded_pushes) {
    return absl::OkStatus();
  }
  const Version is = version_.value_or(Version());
  return GateError(
      absl::StatusCode::kDataLoss, Reason::kDamaged, View(cycles_),
      absl::StrCat("pushes that follow t=", change.folded_pushes, " (version ",
                   change.version.number, " of lineage ",
                   change.version.lineage,
                   "), where it is at t=", folded_pushes_, " (version ",
                   is.number, " of lineage ", is.lineage, ")"));
}

// As it was planned: its scalars are the record's, whatever this machine's libm
// would make of them.
bool ModelImpl::ReplayBatch(const BatchChange& change,
                            const std::function<void(absl::Status)>& done) {
  if (absl::Status follows = CheckFollows(change); !follows.ok()) {
    done(std::move(follows));
    return true;
  }
  const std::shared_ptr<Batch>& batch = change.batch;
  Gathering::Open open;
  {
    MutexLock lock(&mu_);
    for (size_t g = 0; g < rules_.size(); ++g) {
      if (rules_[g].k == change.k[g]) continue;
      rules_[g].k = rules_[g].update_every = change.k[g];
    }
    // With those of pushes that were refused.
    recent_micro_steps_ = batch->recent_micro_steps;
    open = gathering_.OpenCycles(batch->updated, batch->held);
  }
  for (const Held& held : batch->held) {
    // Nobody else knows of it yet.
    ChargeHeld(*std::const_pointer_cast<HeldPush>(held), *ledger_);
  }
  if (gathers_ && batch->publishes()) {
    TakeFolding(Gathering::InFoldOrder(open).pushes, *batch);
  }
  return StartBatch(batch, [done](const absl::StatusOr<EndedCycle>& ended) {
    done(ended.status());
  });
}

}  // namespace accrue
