// ModelImpl: the model's executor and the state that it owns.
//
// Order.     steps run one at a time, in the order in which they came: `Drive`
//            runs them until none is left or one goes on elsewhere (a pass on
//            the pool), which drives on when it ends. Consecutive pushes are
//            one step: a batch. A thread that must not wait drives pushes of
//            a small model, as long as no memory need be allocated for them;
//            for anything else the pool takes over.
// Threading. mu_ guards what others may look at; a step that is running owns
//            the shard and next_.
#ifndef ACCRUE_SERVER_MODEL_MODEL_IMPL_H_
#define ACCRUE_SERVER_MODEL_MODEL_IMPL_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/kernels/shard.h"
#include "server/model/batch.h"
#include "server/model/gathering.h"
#include "server/model/model.h"
#include "server/model/publication_store.h"
#include "server/model/push_gate.h"
#include "server/model/session_table.h"

namespace accrue {

class ModelImpl final : public Model {
 public:
  ModelImpl(const ModelSpec& spec, const ModelEnvironment& environment);
  absl::Status Allocate();
  // Who lets go of a model last may be a thread that must not wait, and a
  // driver takes its time to free memory.
  static void Destroy(ModelImpl* raw);

  const std::string& name() const override { return spec_.name; }
  const ModelSpec& spec() const override { return spec_; }
  std::shared_ptr<const Layout> layout() const override { return layout_; }
  WorkPool* pool() const override { return environment_.pool; }
  WorkPool::Lane lane() const override { return lane_; }

  void Initialize(Initialization initialization,
                  std::function<void(absl::StatusOr<Version>)> done) override;
  void OpenSession(
      SessionRequest request,
      std::function<void(absl::StatusOr<OpenedSession>)> done) override;
  void CloseSession(std::string session_id,
                    std::function<void(absl::Status)> done) override;
  absl::StatusOr<BegunPush> Begin(const PushHeader& header,
                                  std::shared_ptr<Arrival> arrival) override;
  void Leave(const Arrival* arrival) override;
  void Submit(std::unique_ptr<Push> push, const Arrival* arrival) override;
  void UpdateHyperparameters(std::vector<HyperparameterUpdate> updates,
                             std::function<void(absl::Status)> done) override;
  void EndCycle(std::optional<Version> version,
                std::function<void(absl::StatusOr<EndedCycle>)> done) override;
  absl::Status CheckUsable() const override;
  absl::Status CheckTakesParameters(bool restore) const override;
  std::shared_ptr<const Publication> newest() const override;
  std::shared_ptr<Subscription> Subscribe(Notice notice) override;
  ModelDescription Describe() const override;
  std::vector<SessionDescription> Sessions() const override;
  void CountSent(int64_t bytes) override { sent_bytes_ += bytes; }
  void CountTraffic(const Traffic& traffic) override;
  void Drain(std::function<void()> done) override;
  void Delete() override;
  void Restore(StoredModel stored,
               std::function<void(absl::Status)> done) override;
  void GoBack(std::shared_ptr<const StateSource> source,
              std::function<void(absl::StatusOr<Version>)> done) override;
  void Replay(Change change, std::function<void(absl::Status)> done) override;
  void Attach(std::shared_ptr<CommitLog> log) override;
  void CaptureState(std::shared_ptr<Capture> capture) override;
  void Inspect(
      std::function<void(kernels::Shard*, const std::vector<rule::CycleState>&)>
          look) override;

 private:
  // Either a push or work of another kind; `run` returns false if it goes on
  // elsewhere and will call Drive itself.
  struct Step {
    std::unique_ptr<Push> push;
    absl::AnyInvocable<bool()> run;
  };
  struct Answer {
    std::unique_ptr<Push> push;
    absl::StatusOr<PushOutcome> outcome;
  };
  struct Incoming {
    std::shared_ptr<Arrival> arrival;
    std::string session_id;
    int64_t sequence = 0;
    int64_t version = 0;
    absl::Status aborted = {};  // why; OK: it may still be submitted
  };
  // A step that waits for a publication's memory: as Step::run, or the end of
  // the waiting.
  struct Parked {
    std::function<bool()> go_on;
    std::function<void(const absl::Status&)> give_up;
  };
  using Closed = std::function<void(absl::StatusOr<EndedCycle>)>;
  // A first version in the making, and who waits for it.
  struct FirstVersion {
    Initialization from;
    std::vector<Initializer> initializers;  // [tensors]; none: of values
    std::vector<std::shared_ptr<GroupBuffer>> groups;
    std::function<void(absl::StatusOr<Version>)> done;
    Mutex mu;
    absl::Status status ACCRUE_GUARDED_BY(mu);  // of reading its source
  };
  using FirstVersionPtr = std::shared_ptr<FirstVersion>;
  // A stored state on its way in.
  struct Restoring {
    StoredModel from;
    std::vector<std::shared_ptr<GroupBuffer>> groups;
    // [groups] half-way parameters; null: it does not look ahead.
    std::vector<std::shared_ptr<GroupBuffer>> next;
    std::vector<Held> held;
    bool back = false;  // of a model that there is
    std::function<void(absl::Status)> done;
    Mutex mu;
    absl::Status status ACCRUE_GUARDED_BY(mu);  // the first that was not OK
  };
  using RestoringPtr = std::shared_ptr<Restoring>;
  class Arrays;  // an ArrayReader

  absl::Status MakeShard() ACCRUE_EXCLUDES(mu_);
  void Enqueue(Step step) ACCRUE_EXCLUDES(mu_);
  // Whether the caller shall have it driven.
  bool Queue(Step step) ACCRUE_REQUIRES(mu_);
  void HaveDriven(bool is_push) ACCRUE_EXCLUDES(mu_);
  void Run(absl::AnyInvocable<bool()> step) {
    Enqueue({nullptr, std::move(step)});
  }
  void Drive(bool may_wait = true) ACCRUE_EXCLUDES(mu_);
  absl::Duration Patience() const;
  bool AwaitsCompany() ACCRUE_REQUIRES(mu_);
  absl::Duration NextCompany() const ACCRUE_REQUIRES(mu_);
  void EndAwaiting() ACCRUE_EXCLUDES(mu_);
  // JudgeHeader's, and takes note of its micro_steps where they may come.
  absl::StatusOr<Passed> Judge(const PushHeader& header, const GateView& view)
      ACCRUE_REQUIRES(mu_);
  // GATHER: takes what the batch's updates are folded from, to be planned
  // without the lock.
  void TakeGathered(Batch& batch) const ACCRUE_REQUIRES(mu_);
  Batch TakeBatch(std::vector<Answer>& answers) ACCRUE_REQUIRES(mu_);
  bool Take(std::unique_ptr<Push>& push, Batch& batch,
            std::vector<Answer>& answers) ACCRUE_REQUIRES(mu_);
  static void Reply(std::vector<Answer> answers);

  // Returns true if the batch is finished, false if it goes on elsewhere.
  bool StartBatch(std::shared_ptr<Batch> batch, Closed closed,
                  bool may_wait = true) ACCRUE_EXCLUDES(mu_);
  bool RunBatch(std::shared_ptr<Batch> batch, Closed closed, bool may_wait);
  bool FoldBatch(std::shared_ptr<Batch> batch, Closed closed);
  // Makes a change once it is durable: at once where nothing is journaled.
  // `make` returns as Step::run; it is given why the change cannot be made.
  bool Commit(Change change, absl::AnyInvocable<bool(absl::Status)> make);
  bool HasMemory(const Batch& batch);
  absl::Status GiveBuffers(Batch& batch);
  void AskForNoise(Batch& batch) const;
  void AskForCopies(Batch& batch) const;
  void GiveCopies(Batch& batch) const;
  bool Park(Parked step) ACCRUE_EXCLUDES(mu_);
  void Unpark() ACCRUE_EXCLUDES(mu_);
  void FinishBatch(Batch& batch, const Closed& closed,
                   absl::StatusOr<kernels::PassResult> result)
      ACCRUE_EXCLUDES(mu_);
  void FailBatch(Batch& batch, const Closed& closed, absl::Status why);
  absl::Status DeviceFault(const absl::Status& why) const;
  // Returns what is not held any more, to be let go of without the lock.
  std::vector<Held> CommitBatch(Batch& batch, const kernels::PassResult& result)
      ACCRUE_REQUIRES(mu_);
  // What the batch's pushes are answered, and their sessions remember. `old`:
  // the newest version before it.
  void CommitOutcomes(Batch& batch, const Version& old) ACCRUE_REQUIRES(mu_);
  // `momentum_squares`: if it was measured.
  void CommitUpdate(int32_t group, double clip_norm,
                    std::optional<double> momentum_squares)
      ACCRUE_REQUIRES(mu_);
  void AdaptK(Batch& batch) ACCRUE_REQUIRES(mu_);
  void LogKChanges(const Batch& batch) const;
  void Publish(const Batch& batch) ACCRUE_REQUIRES(mu_);
  void AbortStaleArrivals() ACCRUE_REQUIRES(mu_);
  void Poison(const absl::Status& why) ACCRUE_EXCLUDES(mu_);
  void Announce(absl::StatusOr<std::shared_ptr<const Publication>> news)
      ACCRUE_EXCLUDES(mu_);

  void NextWindow() ACCRUE_REQUIRES(mu_);
  void WatchWindow() ACCRUE_REQUIRES(mu_);
  void ArmWindowTimer() ACCRUE_REQUIRES(mu_);
  // Of the pushes that came after `version`: what has begun another lineage
  // since may have windows of the same numbers.
  void OnCycleTimeout(const Version& version) ACCRUE_EXCLUDES(mu_);
  bool CloseWindow(const Version& version) ACCRUE_EXCLUDES(mu_);
  void RetryClose(const Version& version, const absl::Status& why)
      ACCRUE_EXCLUDES(mu_);
  bool DoEndCycle(const std::optional<Version>& version, const Closed& closed)
      ACCRUE_EXCLUDES(mu_);
  bool DoInitialize(const FirstVersionPtr& first) ACCRUE_EXCLUDES(mu_);
  absl::Status CheckInitialization(const Initialization& initialization,
                                   std::vector<Initializer>& sorted)
      ACCRUE_EXCLUDES(mu_);
  // Each ends in the next, or in FailInitialize.
  void ResetShard(std::function<void(absl::Status)> then) ACCRUE_EXCLUDES(mu_);
  absl::Status ReplaceShard();
  void Fill(const FirstVersionPtr& first);
  void FillFromSource(const FirstVersionPtr& first);
  void LoadShard(const FirstVersionPtr& first);
  void AppendFirst(const FirstVersionPtr& first) ACCRUE_EXCLUDES(mu_);
  void PublishFirst(const FirstVersionPtr& first, const Version& version)
      ACCRUE_EXCLUDES(mu_);
  void FailInitialize(const FirstVersionPtr& first, absl::Status why)
      ACCRUE_EXCLUDES(mu_);
  void EndInitialize(FirstVersion& first, absl::StatusOr<Version> outcome);
  absl::Status NewBuffers(std::vector<std::shared_ptr<GroupBuffer>>& groups);
  void StartAnew() ACCRUE_REQUIRES(mu_);
  bool DoUpdate(const std::vector<HyperparameterUpdate>& updates,
                std::function<void(absl::Status)> done) ACCRUE_EXCLUDES(mu_);
  absl::StatusOr<std::vector<rule::RuleSpec>> ChangedRules(
      const std::vector<HyperparameterUpdate>& updates) ACCRUE_EXCLUDES(mu_);
  std::string ChangeRules(const std::vector<HyperparameterUpdate>& updates,
                          std::vector<rule::RuleSpec>& rules) const;
  absl::StatusOr<OpenedSession> DoResume(const SessionRequest& request)
      ACCRUE_EXCLUDES(mu_);
  bool DoOpen(const SessionRequest& request,
              const std::function<void(absl::StatusOr<OpenedSession>)>& done)
      ACCRUE_EXCLUDES(mu_);
  // The session that this request has opened already; none: it may open one.
  absl::StatusOr<std::optional<OpenedSession>> CheckOpen(
      const SessionRequest& request) ACCRUE_EXCLUDES(mu_);
  OpenedSession AddSession(const SessionRequest& request, const std::string& id)
      ACCRUE_EXCLUDES(mu_);
  OpenedSession Opened(const Session& session) const ACCRUE_REQUIRES(mu_);
  bool DoClose(const std::string& session_id,
               const std::function<void(absl::Status)>& done)
      ACCRUE_EXCLUDES(mu_);
  // False: there is no such session.
  absl::StatusOr<bool> CheckClose(const std::string& session_id)
      ACCRUE_EXCLUDES(mu_);
  void EndSessions(const std::vector<std::string>& ids) ACCRUE_EXCLUDES(mu_);

  TrainingState State() const ACCRUE_REQUIRES(mu_);
  // As it will be with its first parameters.
  TrainingState FirstState(const Version& version) const ACCRUE_REQUIRES(mu_);
  std::vector<SessionState> SessionStates() const ACCRUE_REQUIRES(mu_);
  // Whether the group's parameters are half-way to their next version.
  bool LooksAhead(size_t group, const rule::CycleState& cycle) const;
  bool DoCapture(const std::shared_ptr<Capture>& capture) ACCRUE_EXCLUDES(mu_);
  bool ReadCapture(const std::shared_ptr<Capture>& capture);
  // Each ends in the next, or in EndRestore.
  bool DoRestore(const RestoringPtr& restoring);
  bool DoGoBack(const RestoringPtr& restoring) ACCRUE_EXCLUDES(mu_);
  absl::Status CheckGoesBack(const StateSource& source) const
      ACCRUE_EXCLUDES(mu_);
  void FillArrays(const RestoringPtr& restoring);
  void LoadParameters(const RestoringPtr& restoring);
  void TakeState(const RestoringPtr& restoring) ACCRUE_EXCLUDES(mu_);
  void TakeBack(const RestoringPtr& restoring) ACCRUE_EXCLUDES(mu_);
  void FailRestore(Restoring& restoring, absl::Status why) ACCRUE_EXCLUDES(mu_);
  void EndRestore(Restoring& restoring, absl::Status status);
  absl::Status MakeRestored(Restoring& restoring);
  absl::Status RestorePiece(const Restoring& restoring, StateArray array,
                            int64_t piece);
  // Parameters, or those half-way. Groups without a buffer are left out.
  absl::Status ReadPiece(
      const StateSource& source, StateArray array, int64_t piece,
      const std::vector<std::shared_ptr<GroupBuffer>>& groups);
  void TakeCounts(const TrainingState& state) ACCRUE_REQUIRES(mu_);
  void TakeSession(const SessionState& state) ACCRUE_REQUIRES(mu_);
  void TakePublication(Restoring& restoring) ACCRUE_REQUIRES(mu_);
  bool DoReplay(const Change& change,
                const std::function<void(absl::Status)>& done)
      ACCRUE_EXCLUDES(mu_);
  absl::Status CheckFollows(const BatchChange& change) const
      ACCRUE_EXCLUDES(mu_);
  bool ReplayBatch(const BatchChange& change,
                   const std::function<void(absl::Status)>& done)
      ACCRUE_EXCLUDES(mu_);
  bool ExpireSessions() ACCRUE_EXCLUDES(mu_);
  std::vector<std::string> IdleSessions() ACCRUE_EXCLUDES(mu_);
  void ScheduleExpiry();

  absl::Status Usable() const ACCRUE_REQUIRES(mu_);
  bool CountsAsPoisoned() const ACCRUE_REQUIRES(mu_) {
    return !poison_reason_.empty() && !deleted_;
  }
  // UNAVAILABLE: once a drain has begun, its last checkpoint may have been
  // captured.
  absl::Status Draining() const ACCRUE_REQUIRES(mu_);
  // Usable, and not draining.
  absl::Status MayChange() const ACCRUE_REQUIRES(mu_);
  GateView View(const std::vector<rule::CycleState>& cycles) const
      ACCRUE_REQUIRES(mu_);
  void AbortArrivalsOf(const std::string& session_id) ACCRUE_REQUIRES(mu_);
  std::vector<Incoming>::iterator FindArrival(const Arrival* arrival)
      ACCRUE_REQUIRES(mu_);
  void AbortArrivals(const std::function<absl::Status(const Incoming&)>& why)
      ACCRUE_REQUIRES(mu_);
  std::shared_ptr<ModelImpl> Self() {
    return std::static_pointer_cast<ModelImpl>(shared_from_this());
  }

  const ModelSpec spec_;
  const ModelEnvironment environment_;
  const std::shared_ptr<const Layout> layout_;
  const std::shared_ptr<MemoryLedger> ledger_;
  const WorkPool::Lane lane_;
  const bool gathers_;  // GATHER buffering
  // Its batches are short enough for a thread that must not wait. Not where it
  // gathers: then one plans a whole cycle, of every push for every group.
  const bool small_;
  // How long pushes may wait for others to be folded with; zero: not at all.
  const absl::Duration patience_;
  // Null: it was on a GPU that is lost, no other could take it, and the model
  // is poisoned.
  std::unique_ptr<kernels::Shard> shard_;
  std::unique_ptr<PublicationStore> store_;
  std::shared_ptr<CommitLog> log_;  // null: nothing is kept
  // Begun by a look-ahead, finished by the group's update [groups].
  std::vector<std::shared_ptr<GroupBuffer>> next_;

  mutable Mutex mu_;
  std::deque<Step> queue_ ACCRUE_GUARDED_BY(mu_);
  bool driving_ ACCRUE_GUARDED_BY(mu_) = false;
  // While the first in the queue waits for company.
  std::optional<std::chrono::steady_clock::time_point> awaits_until_
      ACCRUE_GUARDED_BY(mu_);
  TimerId awaits_timer_ ACCRUE_GUARDED_BY(mu_);
  std::optional<Parked> parked_ ACCRUE_GUARDED_BY(mu_);

  bool deleted_ ACCRUE_GUARDED_BY(mu_) = false;
  bool draining_ ACCRUE_GUARDED_BY(mu_) = false;
  // From Restore to Attach: what happened is made again, and nothing else.
  bool replaying_ ACCRUE_GUARDED_BY(mu_) = false;
  std::vector<std::string> devices_ ACCRUE_GUARDED_BY(mu_);  // of shard_
  std::string poison_reason_ ACCRUE_GUARDED_BY(mu_);
  std::vector<rule::RuleSpec> rules_ ACCRUE_GUARDED_BY(mu_);  // newest hyper
  std::vector<rule::CycleState> cycles_ ACCRUE_GUARDED_BY(mu_);
  Gathering gathering_ ACCRUE_GUARDED_BY(mu_);
  std::vector<double> clip_norms_ ACCRUE_GUARDED_BY(mu_);
  std::vector<std::optional<NoiseReading>> noise_ ACCRUE_GUARDED_BY(mu_);
  int64_t micro_steps_ ACCRUE_GUARDED_BY(mu_) = 1;  // of the last push
  // By window_.
  rule::RecentMicroSteps recent_micro_steps_ ACCRUE_GUARDED_BY(mu_);
  std::deque<rule::KChange> k_changes_ ACCRUE_GUARDED_BY(mu_);
  int64_t folded_pushes_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t lost_pushes_ ACCRUE_GUARDED_BY(mu_) = 0;
  bool loss_uncertain_ ACCRUE_GUARDED_BY(mu_) = false;
  int64_t restored_folded_pushes_ ACCRUE_GUARDED_BY(mu_) = 0;
  std::optional<Version> version_ ACCRUE_GUARDED_BY(mu_);
  std::shared_ptr<const Publication> newest_ ACCRUE_GUARDED_BY(mu_);
  mutable SessionTable sessions_ ACCRUE_GUARDED_BY(mu_);
  std::vector<Incoming> arrivals_ ACCRUE_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<Subscription>> subscriptions_
      ACCRUE_GUARDED_BY(mu_);

  // The pushes toward the next publication.
  int64_t window_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t window_pushes_ ACCRUE_GUARDED_BY(mu_) = 0;
  bool window_overdue_ ACCRUE_GUARDED_BY(mu_) = false;
  TimerId window_timer_ ACCRUE_GUARDED_BY(mu_);
  double loss_sum_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t loss_count_ ACCRUE_GUARDED_BY(mu_) = 0;
  std::optional<double> last_loss_ ACCRUE_GUARDED_BY(mu_);
  int64_t short_cycles_ ACCRUE_GUARDED_BY(mu_) = 0;
  int64_t received_bytes_ ACCRUE_GUARDED_BY(mu_) = 0;
  TimerId expiry_timer_ ACCRUE_GUARDED_BY(mu_);

  std::atomic<int64_t> sent_bytes_{0};
  mutable Mutex traffic_mu_;  // a leaf
  Traffic traffic_ ACCRUE_GUARDED_BY(traffic_mu_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_MODEL_IMPL_H_
