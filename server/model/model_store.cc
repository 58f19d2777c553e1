#include "server/model/model_store.h"

#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/model/gathering.h"

namespace accrue {
namespace {

// Those that a shard keeps: moments, and a buffer.
int64_t ShardArrays(const ModelSpec& spec) {
  int64_t arrays = 1;
  if (rule::HasSecondMoment(spec.optimizer.optimizer)) ++arrays;
  if (spec.optimizer.buffering == rule::Buffering::kClassic) ++arrays;
  return arrays;
}

// What a model may come to hold of the host's memory.
int64_t StateBytes(const ModelSpec& spec, const Device& device) {
  int64_t elems = 0;
  for (const TensorSpec& tensor : spec.tensors) elems += ElementCount(tensor);
  int64_t arrays = spec.max_publications;
  if (device.allocates_host_memory()) arrays += ShardArrays(spec);
  return elems * arrays * static_cast<int64_t>(sizeof(float));
}

absl::StatusOr<StateBudget::Reservation> ReserveState(const ModelSpec& spec,
                                                      const Device& device,
                                                      StateBudget& budget) {
  const int64_t held_bytes = GatherBytes(spec);
  const int64_t state_bytes = StateBytes(spec, device);
  if (held_bytes == 0) {
    return budget.Reserve(spec.name, "state and publications", state_bytes);
  }
  return budget.Reserve(
      spec.name,
      absl::StrCat("state, publications and, under GATHER, a cycle's pushes (",
                   held_bytes, ")"),
      state_bytes + held_bytes);
}

absl::Status Refuse(absl::StatusCode code, Reason reason,
                    const std::string& subject, const std::string& message) {
  ErrorInfo info;
  info.reason = reason;
  info.subject = subject;
  return MakeError(code, info, message);
}

absl::Status Draining(const std::string& model) {
  return Refuse(absl::StatusCode::kUnavailable, Reason::kDraining, model,
                "the server is shutting down");
}

absl::Status HalfDeleted(const std::string& model) {
  return Refuse(
      absl::StatusCode::kUnavailable, Reason::kCheckpointFailed, model,
      absl::StrCat("model \"", model,
                   "\" is deleted, but not yet on the disk; where that "
                   "fails, delete it again"));
}

ModelStore::Options WithBudget(ModelStore::Options options,
                               std::shared_ptr<StateBudget> budget) {
  options.environment.state_budget = std::move(budget);
  return options;
}

}  // namespace

ModelStore::ModelStore(Options options)
    : budget_(std::make_shared<StateBudget>(options.state_memory_bytes,
                                            options.environment.ledger)),
      options_(WithBudget(std::move(options), budget_)),
      lane_(options_.environment.pool->NewLane()) {}

void ModelStore::Create(ModelSpec spec, CreateDone done) {
  options_.environment.pool->Post(
      lane_, [this, spec = std::move(spec), done = std::move(done)]() mutable {
        FillDefaults(spec);
        CreateNow(spec, done);
      });
}

void ModelStore::CreateNow(const ModelSpec& spec, const CreateDone& done) {
  absl::Status valid = ValidateSpec(spec, options_.limits);
  if (!valid.ok()) return done(std::move(valid));
  absl::StatusOr<std::shared_ptr<Model>> found;
  {
    MutexLock lock(&mu_);
    if (auto making = making_.find(spec.name); making != making_.end()) {
      making->second.push_back([this, spec, done] { Create(spec, done); });
      return;
    }
    found = FindOrBegin(spec);
  }
  if (!found.ok()) return done(std::move(found).status());
  if (*found != nullptr) return done(Created{*std::move(found), false});
  done(Publish(spec, Make(spec)));
}

absl::StatusOr<std::shared_ptr<Model>> ModelStore::FindSame(
    ModelSpec spec) const {
  FillDefaults(spec);
  ACCRUE_RETURN_IF_ERROR(ValidateSpec(spec, options_.limits));
  MutexLock lock(&mu_);
  return FindFilled(spec);
}

absl::StatusOr<std::shared_ptr<Model>> ModelStore::FindFilled(
    const ModelSpec& spec) const {
  const auto found = models_.find(spec.name);
  if (found == models_.end()) return nullptr;
  if (found->second->spec() == spec) return found->second;
  return Refuse(
      absl::StatusCode::kAlreadyExists, Reason::kModelExists, spec.name,
      absl::StrCat("model \"", spec.name, "\" exists with another spec"));
}

absl::StatusOr<std::shared_ptr<Model>> ModelStore::FindOrBegin(
    const ModelSpec& spec) {
  ACCRUE_ASSIGN_OR_RETURN(std::shared_ptr<Model> found, FindFilled(spec));
  if (found != nullptr) return found;
  if (draining_) return Draining(spec.name);
  if (const auto gone = missing_.find(spec.name); gone != missing_.end()) {
    return gone->second;
  }
  if (half_deleted_.contains(spec.name)) return HalfDeleted(spec.name);
  // All that List shows, too: they hold a directory each.
  const size_t count = models_.size() + making_.size() + missing_.size();
  if (static_cast<int64_t>(count) >= options_.max_models) {
    return Refuse(absl::StatusCode::kResourceExhausted, Reason::kLimit,
                  "--max_models",
                  absl::StrCat("the server has ", count,
                               " models, as many as --max_models allows"));
  }
  making_[spec.name];
  return nullptr;
}

absl::StatusOr<std::shared_ptr<Model>> ModelStore::Make(const ModelSpec& spec) {
  if (options_.keeper == nullptr) {
    if (spec.durability == Durability::kMemory) return MakeAgain(spec);
    return Refuse(absl::StatusCode::kFailedPrecondition,
                  Reason::kNoDataDirectory, "--data_dir",
                  absl::StrCat("model \"", spec.name,
                               "\": a journal needs a data directory, and the "
                               "server was started without --data_dir"));
  }
  ACCRUE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model, MakeAgain(spec));
  const WorkPool::Waiting waiting;
  ACCRUE_ASSIGN_OR_RETURN(auto log, options_.keeper->Keep(model));
  model->Attach(std::move(log));
  return model;
}

absl::StatusOr<std::shared_ptr<Model>> ModelStore::MakeAgain(
    const ModelSpec& spec) {
  if (draining()) return Draining(spec.name);
  ModelEnvironment environment = options_.environment;
  ACCRUE_ASSIGN_OR_RETURN(environment.state_reservation,
                          ReserveState(spec, *environment.device, *budget_));
  return Model::Create(spec, environment);
}

absl::StatusOr<ModelStore::Created> ModelStore::Publish(
    const ModelSpec& spec, absl::StatusOr<std::shared_ptr<Model>> made) {
  std::vector<std::function<void()>> waiting;
  absl::Status draining;
  {
    MutexLock lock(&mu_);
    waiting = std::move(making_.extract(spec.name).mapped());
    if (draining_) draining = Draining(spec.name);
    if (made.ok() && draining.ok()) models_[spec.name] = *made;
  }
  if (made.ok() && !draining.ok()) {
    // Its memory is given back before anybody hears of it, and its files: who
    // is refused finds no such model at the next start.
    made = std::move(draining);
    Unkeep(spec.name);
  }
  if (made.ok()) {
    ACCRUE_LOG(info, "model \"{}\" created: {} parameters", spec.name,
               (*made)->layout()->elems());
  }
  for (const auto& then : waiting) then();
  if (!made.ok()) return std::move(made).status();
  return Created{*std::move(made), true};
}

void ModelStore::Unkeep(const std::string& name) {
  if (options_.keeper == nullptr) return;
  const WorkPool::Waiting waiting;
  absl::Status gone = options_.keeper->Forget(name);
  if (gone.ok()) gone = options_.keeper->Erase(name);
  if (gone.ok()) return;
  ACCRUE_LOG(warn, "a model that was refused is still on the disk: {}",
             gone.message());
}

absl::Status ModelStore::Adopt(const std::shared_ptr<Model>& model) {
  MutexLock lock(&mu_);
  if (draining_) return Draining(model->name());
  missing_.erase(model->name());
  models_[model->name()] = model;
  return absl::OkStatus();
}

void ModelStore::Miss(const std::string& name, absl::Status why) {
  MutexLock lock(&mu_);
  missing_[name] = std::move(why);
}

absl::StatusOr<std::shared_ptr<Model>> ModelStore::Find(
    const std::string& name) const {
  MutexLock lock(&mu_);
  auto found = models_.find(name);
  if (found != models_.end()) return found->second;
  const auto gone = missing_.find(name);
  if (gone != missing_.end()) return gone->second;
  return Refuse(absl::StatusCode::kNotFound, Reason::kModelUnknown, name,
                absl::StrCat("no model \"", name, "\""));
}

std::vector<ModelStore::Listed> ModelStore::List(const std::string& after,
                                                 int64_t limit) const {
  std::vector<Listed> result;
  MutexLock lock(&mu_);
  auto there = models_.upper_bound(after);
  auto missing = missing_.upper_bound(after);
  while (static_cast<int64_t>(result.size()) < limit) {
    // No name is in both.
    if (there != models_.end() &&
        (missing == missing_.end() || there->first < missing->first)) {
      result.push_back({there->first, there->second});
      ++there;
    } else if (missing != missing_.end()) {
      result.push_back({missing->first, missing->second});
      ++missing;
    } else {
      break;
    }
  }
  return result;
}

absl::Status ModelStore::Delete(const std::string& name) {
  // For the disk, and for whoever deletes another one.
  const WorkPool::Waiting waiting;
  MutexLock deleting(&deleting_);
  if (absl::Status there = Find(name).status();
      absl::IsNotFound(there) && !IsHalfDeleted(name)) {
    return there;
  }
  if (options_.keeper != nullptr) {
    ACCRUE_RETURN_IF_ERROR(options_.keeper->Forget(name));
  }
  Remove(name);
  if (options_.keeper != nullptr) {
    ACCRUE_RETURN_IF_ERROR(options_.keeper->Erase(name));
  }
  {
    MutexLock lock(&mu_);
    half_deleted_.erase(name);
  }
  ACCRUE_LOG(info, "model \"{}\" deleted", name);
  return absl::OkStatus();
}

bool ModelStore::IsHalfDeleted(const std::string& name) const {
  MutexLock lock(&mu_);
  return half_deleted_.contains(name);
}

void ModelStore::Remove(const std::string& name) {
  std::shared_ptr<Model> model;
  {
    MutexLock lock(&mu_);
    missing_.erase(name);
    half_deleted_.insert(name);
    auto found = models_.find(name);
    if (found == models_.end()) return;
    model = found->second;
    models_.erase(found);
    std::erase_if(deleted_, [](const auto& gone) { return gone.expired(); });
    deleted_.push_back(model);
  }
  model->Delete();
}

void ModelStore::Drain(std::function<void()> done) {
  Drain([](const std::string&) {}, std::move(done));
}

void ModelStore::Drain(const Drained& each, std::function<void()> done) {
  std::vector<std::shared_ptr<Model>> models, gone;
  std::function<void()> part;
  {
    MutexLock lock(&mu_);
    draining_ = true;
    for (const auto& [name, model] : models_) models.push_back(model);
    for (const auto& weak : deleted_) {
      if (auto model = weak.lock()) gone.push_back(std::move(model));
    }
    // One part more, so that `done` also runs where there are none.
    auto left = std::make_shared<std::atomic<size_t>>(
        models.size() + gone.size() + making_.size() + 1);
    part = [left, done = std::move(done)] {
      if (left->fetch_sub(1) == 1) done();
    };
    for (auto& [name, waiting] : making_) waiting.push_back(part);
  }
  for (const auto& model : models) {
    model->Drain([each, part, name = model->name()] {
      each(name);
      part();
    });
  }
  for (const auto& model : gone) model->Drain(part);
  part();
}

bool ModelStore::draining() const {
  MutexLock lock(&mu_);
  return draining_;
}

}  // namespace accrue
