#include "tests/faults/trial.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "tests/faults/gradient.h"
#include "tests/faults/one_hot_check.h"
#include "tests/faults/replay_check.h"
#include "tests/faults/stored_states.h"

namespace accrue::faults {
namespace {

constexpr char kReplayed[] = "replayed";
constexpr char kOneHot[] = "one_hot";
constexpr int64_t kOneHotK = 4;

// How it is now, with no cycle open: what the moments hold has then come to the
// parameters.
absl::StatusOr<FinalState> Finish(const client::Client& client,
                                  TrialModel& trial_model) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                          client.OpenModel(trial_model.subject.spec.name));
  ACCRUE_ASSIGN_OR_RETURN(client::ModelDescription description,
                          model.Describe());
  trial_model.history.AddClose(*description.version);
  ACCRUE_RETURN_IF_ERROR(model.EndCycle(description.version).status());
  ACCRUE_ASSIGN_OR_RETURN(description, model.Describe());
  FinalState state = {.version = *description.version,
                      .t = description.folded_pushes};
  state.theta.resize(trial_model.subject.initial.size());
  ACCRUE_RETURN_IF_ERROR(model.Pull(&state.theta).status());
  return state;
}

// Nothing tells the moments of the end but the checkpoint that is made then.
absl::Status TakeMoments(std::vector<FinalState>& stored, FinalState& state) {
  const auto same =
      std::find_if(stored.begin(), stored.end(), [&](const FinalState& other) {
        return other.version == state.version && other.t == state.t;
      });
  if (same == stored.end()) {
    return absl::NotFoundError("no checkpoint is of the end");
  }
  state.momentum = std::move(same->momentum);
  state.variance = std::move(same->variance);
  stored.erase(same);
  return absl::OkStatus();
}

}  // namespace

client::ClientOptions ImpatientClient() {
  client::ClientOptions options;
  options.initial_backoff = absl::Milliseconds(5);
  options.max_backoff = absl::Milliseconds(50);
  options.transfer_timeout = absl::Seconds(60);
  return options;
}

Trial::Trial(const TrialOptions& options)
    : options_(options),
      replayed_spec_(MakeReplayedSpec(kReplayed, options.seed, options.size)),
      one_hot_pushes_(static_cast<size_t>(options.workers)) {
  replayed_.subject = {.spec = replayed_spec_.spec,
                       .initial = replayed_spec_.initial};
  const int64_t elems = options_.workers * options_.elements_per_worker;
  one_hot_.subject = {
      .spec = OneHotSpec(kOneHot, kOneHotK, elems),
      .initial = std::vector<float>(static_cast<size_t>(elems))};
  replayed_.subject.spec.durability = options_.durability;
  one_hot_.subject.spec.durability = options_.durability;
}

absl::StatusOr<std::unique_ptr<Trial>> Trial::Create(
    const TrialOptions& options) {
  std::unique_ptr<Trial> trial(new Trial(options));
  ACCRUE_RETURN_IF_ERROR(trial->Make(trial->replayed_));
  ACCRUE_RETURN_IF_ERROR(trial->Make(trial->one_hot_));
  return trial;
}

absl::Status Trial::Make(TrialModel& model) {
  ACCRUE_ASSIGN_OR_RETURN(
      const client::Client client,
      client::Client::Connect(options_.target, options_.client));
  ACCRUE_ASSIGN_OR_RETURN(const client::Model created,
                          client.CreateOrOpen(model.subject.spec));
  ACCRUE_ASSIGN_OR_RETURN(const client::InitializeResult initialized,
                          created.InitializeValues(model.subject.initial));
  model.subject.lineage = initialized.version.lineage;
  return absl::OkStatus();
}

Trial::~Trial() { Stop(); }

void Trial::Start() {
  stop_ = false;
  {
    MutexLock lock(&mutex_);
    ended_ = 0;
  }
  const int64_t before = int64_t{options_.workers} * starts_++;
  for (int i = 0; i < options_.workers; ++i) {
    int64_t& pushes = one_hot_pushes_[static_cast<size_t>(i)];
    threads_.emplace_back([this, i, before, &pushes] {
      TrialWorker worker({.target = options_.target,
                          .client = options_.client,
                          .name = absl::StrCat("worker-", i),
                          .seed = MixSeed(options_.seed, static_cast<uint64_t>(
                                                             100 + before + i)),
                          .replayed = &replayed_,
                          .one_hot = &one_hot_,
                          .first_element = i * options_.elements_per_worker,
                          .element_count = options_.elements_per_worker,
                          .one_hot_pushes = pushes,
                          .micro_steps = replayed_spec_.micro_steps,
                          .network_repeats = options_.network_repeats,
                          .on_acknowledged = [this] { OnAcknowledged(); }});
      worker.Run(stop_);
      pushes = worker.one_hot_pushes();
      MutexLock lock(&mutex_);
      ++ended_;
      changed_.SignalAll();
    });
  }
}

void Trial::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Trial::OnAcknowledged() {
  MutexLock lock(&mutex_);
  ++acknowledged_;
  changed_.SignalAll();
}

int64_t Trial::acknowledged() const {
  MutexLock lock(&mutex_);
  return acknowledged_;
}

bool Trial::AwaitAcknowledged(int64_t count, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  MutexLock lock(&mutex_);
  while (acknowledged_ < count && ended_ == 0) {
    if (changed_.WaitWithDeadline(&mutex_, deadline)) break;
  }
  return acknowledged_ >= count;
}

bool Trial::broken() const {
  MutexLock lock(&mutex_);
  return ended_ > 0;
}

absl::Status Trial::KeepStored(const std::string& data_dir) {
  ACCRUE_ASSIGN_OR_RETURN(std::vector<FinalState> states,
                          ReadStoredStates(data_dir, kReplayed));
  Keep(std::move(states));
  return absl::OkStatus();
}

// Most are found again and again.
void Trial::Keep(std::vector<FinalState> states) {
  for (FinalState& state : states) {
    if (std::find(stored_.begin(), stored_.end(), state) != stored_.end()) {
      continue;
    }
    stored_.push_back(std::move(state));
  }
}

absl::StatusOr<Verdict> Trial::Judge(const std::string& target,
                                     const Rollbacks& rollbacks,
                                     const std::string& data_dir) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(target, options_.client));
  ACCRUE_ASSIGN_OR_RETURN(FinalState replayed, Finish(client, replayed_));
  ACCRUE_ASSIGN_OR_RETURN(const FinalState one_hot, Finish(client, one_hot_));
  if (!data_dir.empty()) {
    ACCRUE_ASSIGN_OR_RETURN(const client::Model model,
                            client.OpenModel(kReplayed));
    ACCRUE_RETURN_IF_ERROR(model.Checkpoint().status());
    ACCRUE_ASSIGN_OR_RETURN(std::vector<FinalState> stored,
                            ReadStoredStates(data_dir, kReplayed));
    ACCRUE_RETURN_IF_ERROR(TakeMoments(stored, replayed));
    Keep(std::move(stored));
  }
  Verdict verdict = CheckReplay(replayed_.subject, replayed_.history,
                                rollbacks.replayed, replayed, stored_);
  verdict += CheckOneHot(one_hot_.subject, one_hot_.history, rollbacks.one_hot,
                         one_hot);
  return verdict;
}

}  // namespace accrue::faults
