#include "server/model/model_impl.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/random_id.h"
#include "server/base/status_macros.h"
#include "server/kernels/convert.h"
#include "server/rule/coefficients.h"
#include "server/rule/groups.h"
#include "server/rule/schedule.h"

namespace accrue {
namespace {

constexpr int64_t kPieceElems = int64_t{1} << 18;
constexpr absl::Duration kLongestExpiryPeriod = absl::Minutes(1);

std::vector<rule::RuleSpec> Rules(const ModelSpec& spec) {
  std::vector<rule::RuleSpec> rules;
  for (size_t g = 0; g < spec.groups.size(); ++g) {
    rules.push_back(GroupRule(spec, static_cast<int>(g)));
  }
  return rules;
}

bool Adaptive(const ModelSpec& spec) {
  return spec.optimizer.optimizer != rule::Optimizer::kSgd;
}

bool Classic(const ModelSpec& spec) {
  return spec.optimizer.buffering == rule::Buffering::kClassic;
}

// A piece of one tensor: what one chunk of an initialization writes.
struct Piece {
  int tensor;
  int64_t begin;
  int64_t count;
};

std::vector<Piece> CutTensors(const Layout& layout) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const int64_t elems = layout.tensors()[i].elems;
    for (int64_t begin = 0; begin < elems; begin += kPieceElems) {
      pieces.push_back(
          {static_cast<int>(i), begin, std::min(kPieceElems, elems - begin)});
    }
  }
  return pieces;
}

// Decodes elements [offset, offset + out.size()) of a payload, in steps that
// fit into a buffer on the stack.
void DecodeRange(const ByteChain& payload, kernels::Encoding encoding,
                 int64_t offset, absl::Span<float> out) {
  constexpr int64_t kStep = 2048;
  const int64_t size = kernels::EncodedBytes(encoding);
  alignas(64) std::byte scratch[kStep * 4];
  ChainReader reader(payload);
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); i += kStep) {
    const int64_t count = std::min(kStep, static_cast<int64_t>(out.size()) - i);
    const std::byte* bytes =
        reader.Contiguous((offset + i) * size, count * size, scratch);
    kernels::Decode(bytes, count, encoding, out.data() + i);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Model>> Model::Create(
    const ModelSpec& spec, const ModelEnvironment& environment) {
  auto model = std::make_shared<ModelImpl>(spec, environment);
  ACCRUE_RETURN_IF_ERROR(model->Allocate());
  return model;
}

ModelImpl::ModelImpl(const ModelSpec& spec, const ModelEnvironment& environment)
    : spec_(spec),
      environment_(environment),
      layout_(std::make_shared<const Layout>(spec)),
      ledger_(std::make_shared<MemoryLedger>(environment.ledger)),
      lane_(environment.pool->NewLane()),
      small_(layout_->elems() <= kernels::kBlockElems),
      next_(spec.groups.size()),
      rules_(Rules(spec)),
      cycles_(spec.groups.size()),
      clip_norms_(spec.groups.size(), 0.0),
      sessions_(spec.name, environment.max_sessions) {}

absl::Status ModelImpl::Allocate() {
  kernels::ShardOptions options;
  options.blocks = layout_->blocks();
  options.has_variance = Adaptive(spec_);
  options.has_accumulation = Classic(spec_);
  options.ledger = ledger_.get();
  ACCRUE_ASSIGN_OR_RETURN(shard_,
                          kernels::MakeCpuShard(options, environment_.device,
                                                environment_.pool, lane_));
  store_ = std::make_unique<PublicationStore>(
      layout_, spec_.max_publications, environment_.device, ledger_,
      [weak = std::weak_ptr<ModelImpl>(Self())] {
        if (auto self = weak.lock()) self->Unpark();
      });
  ScheduleExpiry();
  return absl::OkStatus();
}

absl::Status ModelImpl::Usable() const {
  ErrorInfo info;
  info.subject = name();
  if (deleted_) {
    info.reason = Reason::kModelUnknown;
    return MakeError(absl::StatusCode::kNotFound, info,
                     absl::StrCat("model \"", name(), "\" was deleted"));
  }
  if (!poison_reason_.empty()) {
    info.reason = Reason::kPoisoned;
    return MakeError(absl::StatusCode::kFailedPrecondition, info,
                     absl::StrCat("model \"", name(), "\" is poisoned (",
                                  poison_reason_, "); restore it"));
  }
  return absl::OkStatus();
}

GateView ModelImpl::View(const std::vector<rule::CycleState>& cycles) const {
  GateView view;
  view.spec = &spec_;
  view.rules = &rules_;
  view.cycles = &cycles;
  view.sessions = &sessions_;
  view.version = version_.has_value() ? &*version_ : nullptr;
  return view;
}

// ---- Sessions ----

void ModelImpl::OpenSession(
    std::string worker, std::string session_id,
    std::function<void(absl::StatusOr<OpenedSession>)> done) {
  Run([this, worker = std::move(worker), session_id = std::move(session_id),
       done = std::move(done)] {
    done(DoOpen(worker, session_id));
    return true;
  });
}

absl::StatusOr<OpenedSession> ModelImpl::DoOpen(const std::string& worker,
                                                const std::string& session_id) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(Usable());
  ACCRUE_ASSIGN_OR_RETURN(SessionTable::Opened opened,
                          sessions_.Open(worker, session_id, absl::Now()));
  if (!opened.fenced_id.empty()) {
    AbortArrivals([&](const Incoming& incoming) -> absl::Status {
      if (incoming.session_id != opened.fenced_id) return absl::OkStatus();
      mu_.AssertHeld();
      return sessions_.Find(opened.fenced_id).status();
    });
  }
  OpenedSession result;
  result.id = opened.session->id;
  result.last_sequence = opened.session->last_sequence;
  result.last_outcome = opened.session->last_outcome;
  result.version = version_;
  return result;
}

void ModelImpl::CloseSession(std::string session_id,
                             std::function<void(absl::Status)> done) {
  Run([this, session_id = std::move(session_id), done = std::move(done)] {
    {
      MutexLock lock(&mu_);
      sessions_.Close(session_id);
      AbortArrivals([&](const Incoming& incoming) -> absl::Status {
        if (incoming.session_id != session_id) return absl::OkStatus();
        mu_.AssertHeld();
        return sessions_.Find(session_id).status();
      });
    }
    done(absl::OkStatus());
    return true;
  });
}

void ModelImpl::ScheduleExpiry() {
  if (environment_.session_ttl == absl::InfiniteDuration()) return;
  const absl::Duration period =
      std::min(environment_.session_ttl / 4, kLongestExpiryPeriod);
  std::weak_ptr<ModelImpl> weak = Self();
  MutexLock lock(&mu_);
  expiry_timer_ = environment_.timers->At(absl::Now() + period, [weak] {
    auto self = weak.lock();
    if (self == nullptr) return;
    self->Run([raw = self.get()] {
      raw->ExpireSessions();
      return true;
    });
  });
}

void ModelImpl::ExpireSessions() {
  int64_t expired = 0;
  {
    MutexLock lock(&mu_);
    if (deleted_) return;
    // One whose push is on its way is not idle.
    for (const Incoming& incoming : arrivals_) {
      absl::StatusOr<Session*> session = sessions_.Find(incoming.session_id);
      if (session.ok()) (*session)->last_active = absl::Now();
    }
    expired = sessions_.Expire(absl::Now() - environment_.session_ttl);
  }
  if (expired > 0) {
    ACCRUE_LOG(info, "model \"{}\": {} idle sessions ended", name(), expired);
  }
  ScheduleExpiry();
}

// ---- Pushes ----

absl::StatusOr<BegunPush> ModelImpl::Begin(const PushHeader& header,
                                           std::shared_ptr<Arrival> arrival) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(Usable());
  const GateView view = View(cycles_);
  if (draining_) {
    return GateError(absl::StatusCode::kUnavailable, Reason::kDraining, view,
                     "the server is shutting down");
  }
  ACCRUE_ASSIGN_OR_RETURN(Passed passed, JudgeHeader(header, view));
  passed.session->last_active = absl::Now();
  if (passed.repeats && header.checksum.has_value()) {
    ACCRUE_RETURN_IF_ERROR(JudgeRepeat(*header.checksum, passed, view));
    BegunPush begun;
    begun.duplicate = passed.session->last_outcome;
    begun.duplicate->duplicate = true;
    return begun;
  }
  AbortArrivals([&](const Incoming& old) -> absl::Status {
    if (old.session_id != header.session_id ||
        old.sequence != header.sequence) {
      return absl::OkStatus();
    }
    mu_.AssertHeld();
    return GateError(absl::StatusCode::kAborted, Reason::kSuperseded,
                     View(cycles_),
                     absl::StrCat("a newer stream of sequence ", old.sequence,
                                  " replaced this one"));
  });
  arrivals_.push_back(
      {std::move(arrival), header.session_id, header.sequence,
       passed.repeats ? version_->number : header.version.number});
  return BegunPush();
}

void ModelImpl::Leave(const Arrival* arrival) {
  std::shared_ptr<Arrival> last;  // destroyed without the lock
  MutexLock lock(&mu_);
  for (auto it = arrivals_.begin(); it != arrivals_.end(); ++it) {
    if (it->arrival.get() != arrival) continue;
    last = std::move(it->arrival);
    arrivals_.erase(it);
    return;
  }
}

void ModelImpl::Submit(std::unique_ptr<Push> push, const Arrival* arrival) {
  Leave(arrival);
  Enqueue({std::move(push), nullptr});
}

void ModelImpl::AbortArrivals(
    const std::function<absl::Status(const Incoming&)>& why) {
  for (const Incoming& incoming : arrivals_) {
    absl::Status status = why(incoming);
    if (!status.ok()) incoming.arrival->Abort(std::move(status));
  }
}

// ---- Steering ----

void ModelImpl::UpdateHyperparameters(std::vector<HyperparameterUpdate> updates,
                                      std::function<void(absl::Status)> done) {
  Run([this, updates = std::move(updates), done = std::move(done)] {
    done(DoUpdate(updates));
    return true;
  });
}

absl::Status ModelImpl::DoUpdate(
    const std::vector<HyperparameterUpdate>& updates) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(Usable());
  auto invalid = [&](const std::string& message) {
    mu_.AssertHeld();
    return GateError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                     View(cycles_), message);
  };
  std::vector<rule::RuleSpec> rules = rules_;
  for (const HyperparameterUpdate& update : updates) {
    bool found = false;
    for (size_t g = 0; g < rules.size(); ++g) {
      const std::string& group = spec_.groups[g].name;
      if (!update.group.empty() && update.group != group) continue;
      found = true;
      update.change(rules[g].hyper);
      const std::string why = rule::ValidateRule(rules[g]);
      if (!why.empty()) {
        return invalid(absl::StrCat("group \"", group, "\": ", why));
      }
    }
    if (!found) return invalid(absl::StrCat("no group \"", update.group, "\""));
  }
  const std::string why = rule::ValidateGroups(rules, spec_.max_staleness == 0);
  if (!why.empty()) return invalid(why);
  rules_ = std::move(rules);
  return absl::OkStatus();
}

void ModelImpl::EndCycle(std::optional<Version> version,
                         std::function<void(absl::StatusOr<EndedCycle>)> done) {
  Run([this, version = std::move(version), done = std::move(done)] {
    return DoEndCycle(version, done);
  });
}

void ModelImpl::Inspect(
    std::function<void(kernels::Shard&, const std::vector<rule::CycleState>&)>
        look) {
  Run([this, look = std::move(look)] {
    std::vector<rule::CycleState> cycles;
    {
      MutexLock lock(&mu_);
      cycles = cycles_;
    }
    look(*shard_, cycles);
    return true;
  });
}

// ---- Initialization ----

void ModelImpl::Initialize(Initialization initialization,
                           std::function<void(absl::StatusOr<Version>)> done) {
  auto shared = std::make_shared<Initialization>(std::move(initialization));
  Run([this, shared = std::move(shared), done = std::move(done)]() mutable {
    return DoInitialize(std::move(shared), std::move(done));
  });
}

bool ModelImpl::DoInitialize(
    std::shared_ptr<Initialization> initialization,
    std::function<void(absl::StatusOr<Version>)> done) {
  absl::StatusOr<std::vector<Initializer>> sorted;
  std::vector<std::shared_ptr<GroupBuffer>> groups;
  auto check = [&]() -> absl::Status {
    {
      MutexLock lock(&mu_);
      ACCRUE_RETURN_IF_ERROR(Usable());
      if (version_.has_value()) {
        return GateError(absl::StatusCode::kAlreadyExists,
                         Reason::kAlreadyInitialized, View(cycles_),
                         "it has parameters already");
      }
      if (initialization->first_non_finite >= 0) {
        return GateError(
            absl::StatusCode::kInvalidArgument, Reason::kNonFinite,
            View(cycles_),
            absl::StrCat("value ", initialization->first_non_finite,
                         " is not finite"));
      }
    }
    const int64_t value_bytes = initialization->values.size_bytes();
    if (value_bytes == 0) {
      sorted = SortInitializers(initialization->initializers, spec_, *layout_);
      ACCRUE_RETURN_IF_ERROR(sorted.status());
    } else if (const int64_t want =
                   layout_->elems() * EncodedBytes(initialization->encoding);
               value_bytes != want) {
      return MakeError(absl::StatusCode::kInvalidArgument, Reason::kWrongShape,
                       absl::StrCat("values for model \"", name(), "\": ",
                                    value_bytes, " bytes, want ", want));
    }
    for (size_t g = 0; g < spec_.groups.size(); ++g) {
      ACCRUE_ASSIGN_OR_RETURN(std::shared_ptr<GroupBuffer> buffer,
                              store_->NewBuffer(static_cast<int>(g)));
      groups.push_back(std::move(buffer));
    }
    return absl::OkStatus();
  };
  if (absl::Status status = check(); !status.ok()) {
    initialization.reset();
    done(status);
    return true;
  }
  auto pieces = std::make_shared<std::vector<Piece>>(CutTensors(*layout_));
  const int64_t piece_count = static_cast<int64_t>(pieces->size());
  auto write = [this, pieces, initialization, groups,
                sorted = sorted.ok() ? *sorted : std::vector<Initializer>()](
                   int64_t chunk) {
    const Piece& piece = (*pieces)[chunk];
    const TensorPlace& place = layout_->tensors()[piece.tensor];
    absl::Span<float> out(
        groups[place.group]->floats() + place.group_offset + piece.begin,
        piece.count);
    if (sorted.empty()) {
      DecodeRange(initialization->values, initialization->encoding,
                  place.offset + piece.begin, out);
    } else {
      FillTensor(sorted[piece.tensor], initialization->seed, piece.tensor,
                 piece.begin, out);
    }
  };
  auto publish = [self = Self(), initialization, groups,
                  done = std::move(done)]() mutable {
    initialization->values.Clear();
    initialization->reservation.reset();
    Version version;
    std::shared_ptr<const Publication> news;
    {
      MutexLock lock(&self->mu_);
      Publication::Facts facts;
      facts.version.lineage = RandomId();
      for (size_t g = 0; g < groups.size(); ++g) {
        facts.changed_groups.push_back(static_cast<int32_t>(g));
        facts.changed_bytes += groups[g]->elems() * 4;
      }
      version = facts.version;
      self->version_ = version;
      self->newest_ =
          self->store_->Publish(std::move(facts), std::move(groups));
      news = self->newest_;
    }
    done(version);
    self->Announce(std::move(news));
    self->Drive();
  };
  environment_.pool->Run(lane_, piece_count, std::move(write),
                         std::move(publish));
  return false;
}

// ---- Looking ----

std::shared_ptr<const Publication> ModelImpl::newest() const {
  MutexLock lock(&mu_);
  return newest_;
}

std::shared_ptr<Model::Subscription> ModelImpl::Subscribe(Notice notice) {
  auto subscription = std::make_shared<Subscription>(std::move(notice));
  MutexLock lock(&mu_);
  subscriptions_.push_back(subscription);
  return subscription;
}

ModelDescription ModelImpl::Describe() const {
  ModelDescription result;
  result.publications = store_->count();
  result.memory = ledger_->Report();
  result.published_bytes = ledger_->live_bytes(MemoryTag::kParameters);
  result.accumulation_buffer_bytes =
      ledger_->live_bytes(MemoryTag::kAccumulation);
  result.parameter_count = layout_->elems();
  result.sent_bytes = sent_bytes_;
  result.spec = spec_;
  MutexLock lock(&mu_);
  result.state = !poison_reason_.empty() ? ModelState::kPoisoned
                 : version_.has_value()  ? ModelState::kReady
                                         : ModelState::kUninitialized;
  result.poison_reason = poison_reason_;
  result.version = version_;
  result.folded_pushes = folded_pushes_;
  result.short_cycles = short_cycles_;
  result.last_loss = last_loss_;
  result.received_bytes = received_bytes_;
  for (size_t g = 0; g < rules_.size(); ++g) {
    const rule::RuleSpec& rule = rules_[g];
    const rule::CycleState& cycle = cycles_[g];
    result.spec.groups[g].hyper = rule.hyper;
    GroupDescription group;
    group.name = spec_.groups[g].name;
    group.updates = cycle.updates;
    group.position = cycle.position;
    group.k = rule.k;
    group.update_every = rule.update_every;
    group.learning_rate = rule::LearningRate(
        rule, cycle.position > 0 ? cycle.active : rule.hyper, cycle.updates);
    group.clip_norm_seen = clip_norms_[g];
    result.groups.push_back(std::move(group));
    if (rule::MomentIsAccumulator(rule)) {
      result.accumulation_buffer_bytes += layout_->group_elems()[g] * 4;
    }
  }
  const int64_t version = version_.has_value() ? version_->number : 0;
  for (const auto& [worker, session] : sessions_.by_worker()) {
    (session->PushesToward(version) > 0 ? result.pushed_workers
                                        : result.missing_workers)
        .push_back(worker);
  }
  return result;
}

std::vector<SessionDescription> ModelImpl::Sessions() const {
  std::vector<SessionDescription> result;
  MutexLock lock(&mu_);
  const int64_t version = version_.has_value() ? version_->number : 0;
  for (const auto& [worker, session] : sessions_.by_worker()) {
    SessionDescription description;
    description.worker = worker;
    description.id = session->id;
    description.last_sequence = session->last_sequence;
    description.pushes_this_version = session->PushesToward(version);
    description.last_active = session->last_active;
    result.push_back(std::move(description));
  }
  return result;
}

// ---- The end ----

void ModelImpl::Drain(std::function<void()> done) {
  {
    MutexLock lock(&mu_);
    draining_ = true;
    AbortArrivals([this](const Incoming&) {
      mu_.AssertHeld();
      return GateError(absl::StatusCode::kUnavailable, Reason::kDraining,
                       View(cycles_), "the server is shutting down");
    });
  }
  Run([done = std::move(done)] {
    done();
    return true;
  });
}

void ModelImpl::Delete() {
  absl::Status gone;
  std::shared_ptr<Batch> parked;
  Closed closed;
  {
    MutexLock lock(&mu_);
    deleted_ = true;
    environment_.timers->Cancel(window_timer_);
    environment_.timers->Cancel(expiry_timer_);
    gone = Usable();
    AbortArrivals([&gone](const Incoming&) { return gone; });
    parked = std::move(parked_);
    parked_ = nullptr;
    closed = std::move(parked_closed_);
    parked_closed_ = nullptr;
  }
  Announce(gone);
  if (parked == nullptr) return;
  // Its executor waited for memory: it goes on, and refuses all that is left.
  FailBatch(*parked, closed, gone);
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

}  // namespace accrue
