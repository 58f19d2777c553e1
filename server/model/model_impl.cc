#include "server/model/model_impl.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/device/driver_wait.h"
#include "server/rule/coefficients.h"
#include "server/rule/schedule.h"

namespace accrue {
namespace {

bool Adaptive(const ModelSpec& spec) {
  return rule::HasSecondMoment(spec.optimizer.optimizer);
}

bool Classic(const ModelSpec& spec) {
  return spec.optimizer.buffering == rule::Buffering::kClassic;
}

// There is no memory for it; or no device, and clients are to know that.
absl::Status NotCreated(const std::string& model, absl::Status why) {
  if (!absl::IsInternal(why)) return why;
  ErrorInfo info;
  info.reason = Reason::kDeviceFault;
  info.subject = model;
  return MakeError(
      absl::StatusCode::kInternal, info,
      absl::StrCat("model \"", model, "\" is not created: ", why.message()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<Model>> Model::Create(
    const ModelSpec& spec, const ModelEnvironment& environment) {
  const std::shared_ptr<ModelImpl> model(new ModelImpl(spec, environment),
                                         ModelImpl::Destroy);
  ACCRUE_RETURN_IF_ERROR(model->Allocate());
  return model;
}

void ModelImpl::Destroy(ModelImpl* raw) {
  std::unique_ptr<ModelImpl> model(raw);
  if (model->environment_.device->allocates_host_memory()) return;
  WorkPool* const pool = model->pool();
  const WorkPool::Lane lane = model->lane_;
  pool->RunHereOrPost(lane, [model = std::move(model)]() mutable {
    const DriverWait wait(*model->environment_.device);
    model.reset();
  });
}

ModelImpl::ModelImpl(const ModelSpec& spec, const ModelEnvironment& environment)
    : spec_(spec),
      environment_(environment),
      layout_(std::make_shared<const Layout>(spec)),
      ledger_(std::make_shared<MemoryLedger>(environment.ledger)),
      lane_(environment.pool->NewLane()),
      gathers_(KeepsPayloads(spec)),
      small_(layout_->elems() <= kernels::kBlockElems && !gathers_),
      patience_(Patience()),
      next_(spec.groups.size()),
      rules_(GroupRules(spec)),
      cycles_(spec.groups.size()),
      gathering_(spec.groups.size()),
      clip_norms_(spec.groups.size(), 0.0),
      noise_(spec.groups.size()),
      sessions_(
          spec.name,
          std::min(environment.max_sessions,
                   MostSessions(static_cast<int64_t>(spec.groups.size())) /
                       (gathers_ ? 2 : 1))) {}

absl::Status ModelImpl::MakeShard() {
  kernels::ShardOptions options;
  options.blocks = layout_->blocks();
  options.has_variance = Adaptive(spec_);
  options.has_accumulation = Classic(spec_);
  options.ledger = ledger_.get();
  const DriverWait wait(*environment_.device);
  auto made = environment_.make_shard(options, environment_.device,
                                      environment_.pool, lane_);
  absl::Status status = made.status();
  std::vector<std::string> devices;
  if (status.ok()) {
    shard_ = *std::move(made);
    for (const Device* device : shard_->devices()) {
      devices.push_back(device->name());
    }
  }
  MutexLock lock(&mu_);
  devices_ = std::move(devices);
  return status;
}

absl::Status ModelImpl::Allocate() {
  if (absl::Status made = MakeShard(); !made.ok()) {
    return NotCreated(name(), std::move(made));
  }
  store_ = std::make_unique<PublicationStore>(PublicationStore::Options{
      .model = name(),
      .layout = layout_,
      .max_publications = spec_.max_publications,
      .device = &shard_->device(),
      .ledger = ledger_,
      .budget = environment_.state_budget,
      .reservation = environment_.state_reservation,
      .pool = environment_.pool,
      .lane = lane_,
      .on_free = [weak = std::weak_ptr<ModelImpl>(Self())] {
        if (auto self = weak.lock()) self->Unpark();
      }});
  ScheduleExpiry();
  return absl::OkStatus();
}

absl::Status ModelImpl::Usable() const {
  ErrorInfo info;
  info.subject = name();
  if (version_.has_value()) {
    info.current_version = version_->number;
    info.lineage = version_->lineage;
  }
  if (deleted_) {
    info.reason = Reason::kModelUnknown;
    return MakeError(absl::StatusCode::kNotFound, info,
                     absl::StrCat("model \"", name(), "\" was deleted"));
  }
  if (!poison_reason_.empty()) {
    info.reason = Reason::kPoisoned;
    return MakeError(
        absl::StatusCode::kFailedPrecondition, info,
        absl::StrCat("model \"", name(), "\" is poisoned (", poison_reason_,
                     "); initialize it with restore to begin it anew"));
  }
  return absl::OkStatus();
}

absl::Status ModelImpl::Draining() const {
  if (!draining_) return absl::OkStatus();
  return GateError(absl::StatusCode::kUnavailable, Reason::kDraining,
                   View(cycles_), "the server is shutting down");
}

absl::Status ModelImpl::MayChange() const {
  ACCRUE_RETURN_IF_ERROR(Usable());
  return Draining();
}

absl::Status ModelImpl::CheckUsable() const {
  MutexLock lock(&mu_);
  return Usable();
}

absl::Status ModelImpl::CheckTakesParameters(bool restore) const {
  MutexLock lock(&mu_);
  const bool restores = restore && !poison_reason_.empty();
  if (deleted_ || !restores) ACCRUE_RETURN_IF_ERROR(Usable());
  if (!version_.has_value() || restores) return Draining();
  return GateError(absl::StatusCode::kAlreadyExists,
                   Reason::kAlreadyInitialized, View(cycles_),
                   "it has parameters already");
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

absl::StatusOr<Passed> ModelImpl::Judge(const PushHeader& header,
                                        const GateView& view) {
  absl::StatusOr<Passed> passed = JudgeHeader(header, view);
  // Of another number than the open cycle's: it will be back for the next.
  const bool waits = !passed.ok() && GetErrorInfo(passed.status()).reason ==
                                         Reason::kMicroSteps;
  if (waits || (passed.ok() && !passed->repeats)) {
    recent_micro_steps_.Note(header.micro_steps, window_);
  }
  return passed;
}

absl::StatusOr<BegunPush> ModelImpl::Begin(const PushHeader& header,
                                           std::shared_ptr<Arrival> arrival) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(MayChange());
  const GateView view = View(cycles_);
  ACCRUE_ASSIGN_OR_RETURN(Passed passed, Judge(header, view));
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
  arrivals_.push_back({std::move(arrival), header.session_id, header.sequence,
                       header.version.number});
  return BegunPush();
}

void ModelImpl::Leave(const Arrival* arrival) {
  std::shared_ptr<Arrival> last;  // destroyed without the lock
  MutexLock lock(&mu_);
  const auto it = FindArrival(arrival);
  if (it == arrivals_.end()) return;
  last = std::move(it->arrival);
  arrivals_.erase(it);
}

// It is queued, or was aborted before: nothing can come between.
void ModelImpl::Submit(std::unique_ptr<Push> push, const Arrival* arrival) {
  std::shared_ptr<Arrival> last;  // destroyed without the lock
  absl::Status aborted;
  {
    MutexLock lock(&mu_);
    const auto it = FindArrival(arrival);
    if (it != arrivals_.end()) {
      last = std::move(it->arrival);
      aborted = std::move(it->aborted);
      arrivals_.erase(it);
    }
    if (aborted.ok() && !Queue({std::move(push), nullptr})) return;
  }
  if (aborted.ok()) return HaveDriven(/*is_push=*/true);
  environment_.pool->Post(
      lane_, [push = std::move(push), aborted = std::move(aborted)]() mutable {
        std::vector<Answer> answers;
        answers.push_back({std::move(push), std::move(aborted)});
        Reply(std::move(answers));
      });
}

std::vector<ModelImpl::Incoming>::iterator ModelImpl::FindArrival(
    const Arrival* arrival) {
  return std::find_if(arrivals_.begin(), arrivals_.end(),
                      [arrival](const Incoming& incoming) {
                        return incoming.arrival.get() == arrival;
                      });
}

void ModelImpl::AbortArrivals(
    const std::function<absl::Status(const Incoming&)>& why) {
  for (Incoming& incoming : arrivals_) {
    if (!incoming.aborted.ok()) continue;
    incoming.aborted = why(incoming);
    if (!incoming.aborted.ok()) incoming.arrival->Abort(incoming.aborted);
  }
}

void ModelImpl::Inspect(
    std::function<void(kernels::Shard*, const std::vector<rule::CycleState>&)>
        look) {
  Run([this, look = std::move(look)] {
    std::vector<rule::CycleState> cycles;
    {
      MutexLock lock(&mu_);
      cycles = cycles_;
    }
    look(shard_.get(), cycles);
    return true;
  });
}

std::shared_ptr<const Publication> ModelImpl::newest() const {
  MutexLock lock(&mu_);
  return newest_;
}

std::shared_ptr<Model::Subscription> ModelImpl::Subscribe(Notice notice) {
  auto subscription = std::make_shared<Subscription>(std::move(notice));
  absl::Status usable;
  {
    MutexLock lock(&mu_);
    subscriptions_.push_back(subscription);
    usable = Usable();
  }
  // What others were told before.
  if (!usable.ok()) subscription->notice(usable);
  return subscription;
}

void ModelImpl::CountTraffic(const Traffic& traffic) {
  MutexLock lock(&traffic_mu_);
  traffic_.push_request_bytes += traffic.push_request_bytes;
  traffic_.push_response_bytes += traffic.push_response_bytes;
  traffic_.pull_request_bytes += traffic.pull_request_bytes;
  traffic_.pull_response_bytes += traffic.pull_response_bytes;
}

ModelDescription ModelImpl::Describe() const {
  ModelDescription result;
  {
    MutexLock lock(&traffic_mu_);
    result.traffic = traffic_;
  }
  result.publications = store_->count();
  result.memory = ledger_->Report();
  result.published_bytes = ledger_->live_bytes(MemoryTag::kParameters);
  result.accumulation_buffer_bytes =
      ledger_->live_bytes(MemoryTag::kAccumulation) +
      ledger_->live_bytes(MemoryTag::kGathered);
  result.parameter_count = layout_->elems();
  result.sent_bytes = sent_bytes_;
  result.spec = spec_;
  MutexLock lock(&mu_);
  result.state = !poison_reason_.empty() ? ModelState::kPoisoned
                 : version_.has_value()  ? ModelState::kReady
                                         : ModelState::kUninitialized;
  result.devices = devices_;
  result.poison_reason = poison_reason_;
  result.version = version_;
  result.folded_pushes = folded_pushes_;
  result.lost_pushes = lost_pushes_;
  result.loss_uncertain = loss_uncertain_;
  result.restored_folded_pushes = restored_folded_pushes_;
  result.short_cycles = short_cycles_;
  result.last_loss = last_loss_;
  result.k_changes.assign(k_changes_.begin(), k_changes_.end());
  result.micro_steps = micro_steps_;
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
    group.noise = noise_[g];
    result.groups.push_back(std::move(group));
    if (rule::MomentIsAccumulator(rule)) {
      result.accumulation_buffer_bytes += layout_->group_elems()[g] * 4;
    }
  }
  const int64_t version = version_.has_value() ? version_->number : 0;
  for (const auto& [worker, session] : sessions_.by_worker()) {
    (sessions_.PushesAfter(version, worker) > 0 ? result.pushed_workers
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
    description.pushes_this_version = sessions_.PushesAfter(version, worker);
    description.last_active = session->last_active;
    result.push_back(std::move(description));
  }
  return result;
}

void ModelImpl::Drain(std::function<void()> done) {
  {
    MutexLock lock(&mu_);
    draining_ = true;
    AbortArrivals([this](const Incoming&) {
      mu_.AssertHeld();
      return MayChange();
    });
  }
  Run([this, done = std::move(done)] {
    int64_t held = 0;
    {
      MutexLock lock(&mu_);
      held = gathering_.size();
    }
    if (held > 0) {
      ACCRUE_LOG(warn,
                 "model \"{}\": drained in the middle of a cycle: not every "
                 "group will fold the {} {} held",
                 name(), held, held == 1 ? "push" : "pushes");
    }
    done();
    return true;
  });
}

void ModelImpl::Delete() {
  absl::Status gone;
  bool poisoned;
  std::optional<Parked> parked;
  std::vector<Held> held;  // let go of without the lock
  {
    MutexLock lock(&mu_);
    poisoned = CountsAsPoisoned();
    deleted_ = true;
    held = gathering_.Clear();
    environment_.timers->Cancel(window_timer_);
    environment_.timers->Cancel(expiry_timer_);
    gone = Usable();
    AbortArrivals([&gone](const Incoming&) { return gone; });
    parked = std::exchange(parked_, std::nullopt);
  }
  if (poisoned) environment_.on_poison_change(false);
  Announce(gone);
  if (!parked.has_value()) return;
  // Its executor waited for memory: it goes on, and refuses all that is left.
  parked->give_up(gone);
  environment_.pool->Post(lane_, [self = Self()] { self->Drive(); });
}

}  // namespace accrue
