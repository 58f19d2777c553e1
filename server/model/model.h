// Model: a spec, its state, its sessions and its newest publication.
//
// Everything that changes it is a step of its executor: one at a time, in the
// order in which they came, on the shared pool. Pushes that are ready together
// are folded in one pass. Readers never wait for the executor.
//
// Order.     methods with a `done` return at once and call it exactly once,
//            from a thread of the pool, or (Submit, of a model of few blocks)
//            before they return; the others take a short lock.
// Errors.    base/error.h's reasons, as proto/accrue/v1/error.proto says. A
//            refused request leaves every bit of state as it was.
//            A GPU's memory is freed on the pool, whoever lets go of it last.
// Invariant. between two updates no bit of a publication changes.
// Threading. safe.
#ifndef ACCRUE_SERVER_MODEL_MODEL_H_
#define ACCRUE_SERVER_MODEL_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/byte_chain.h"
#include "server/base/memory_ledger.h"
#include "server/base/timer_queue.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/kernels/shard.h"
#include "server/model/commit_log.h"
#include "server/model/initializer.h"
#include "server/model/layout.h"
#include "server/model/publication.h"
#include "server/model/push.h"
#include "server/model/spec.h"
#include "server/model/state_budget.h"
#include "server/model/training_state.h"
#include "server/model/version.h"
#include "server/rule/adaptive_k.h"

namespace accrue {

// How a model gets its shard: kernels::MakeCpuShard, or another backend's.
using ShardFactory =
    std::function<absl::StatusOr<std::unique_ptr<kernels::Shard>>(
        const kernels::ShardOptions& options, Device* device, WorkPool* pool,
        WorkPool::Lane lane)>;

// What a model needs of the process. All outlive it.
struct ModelEnvironment {
  ShardFactory make_shard = kernels::MakeCpuShard;
  Device* device = nullptr;  // the CPU, or any of the GPUs
  WorkPool* pool = nullptr;
  TimerQueue* timers = nullptr;
  MemoryLedger* ledger = nullptr;  // the process's
  // Reserved from for encoded copies of publications; null: without bound.
  std::shared_ptr<StateBudget> state_budget = nullptr;
  // What was reserved there for the model: given back with its memory.
  StateBudget::Reservation state_reservation = nullptr;
  int64_t max_sessions = 10'000;
  absl::Duration session_ttl = absl::Hours(24);
  // How long a push may wait for others, a parameter: what a pass over one
  // takes at 20 GB/s.
  absl::Duration pass_time = absl::Nanoseconds(1);
  // A model was poisoned (true), or one that was is none any more: restored or
  // deleted. Once a change, though of two close ones the later may come first;
  // no lock of the model is held. Short, any thread.
  std::function<void(bool poisoned)> on_poison_change = [](bool) {};
};

struct SessionRequest {
  std::string worker;
  std::string session_id = {};  // to be resumed; empty: a new one
  std::string opening = {};     // of a new one, as Session has it
};

struct OpenedSession {
  std::string id;
  int64_t last_sequence = 0;
  std::optional<PushOutcome> last_outcome;
  std::optional<Version> version;
};

// First parameters, or those that a poisoned model begins anew with:
// `initializers` for every tensor, or `values`, or those of `source`.
struct Initialization {
  std::vector<Initializer> initializers;
  int64_t seed = 0;
  bool restore = false;  // of a poisoned model; else it refuses
  ByteChain values;      // the flat vector in `encoding`
  kernels::Encoding encoding = kernels::Encoding::kF32;
  int64_t first_non_finite = -1;
  std::shared_ptr<void> reservation;
  std::shared_ptr<const StateSource> source;
};

// New hyperparameters: `change` edits a copy of what each group has now.
struct HyperparameterUpdate {
  std::string group;  // empty: every group
  std::function<void(rule::Hyperparameters&)> change;
};

struct EndedCycle {
  Version version;
  std::vector<std::string> closed_groups;
  std::vector<int64_t> missing_pushes;
};

// What a model is given when it goes on from a stored state.
struct StoredModel {
  std::shared_ptr<const StateSource> source;
  // As there; or of a lineage of its own, where answered pushes were lost: then
  // it has no sessions.
  Version version;
  int64_t lost_pushes = 0;
  bool loss_uncertain = false;  // more may be lost than that
};

// Bytes of messages, as serialized.
struct Traffic {
  int64_t push_request_bytes = 0;
  int64_t push_response_bytes = 0;
  int64_t pull_request_bytes = 0;
  int64_t pull_response_bytes = 0;
};

struct GroupDescription {
  std::string name;
  int64_t updates = 0, position = 0, k = 1, update_every = 1;
  double learning_rate = 0;   // of the next update
  double clip_norm_seen = 0;  // at the last update
  std::optional<NoiseReading> noise;
};

struct SessionDescription {
  std::string worker;
  std::string id;
  int64_t last_sequence = 0;
  int64_t pushes_this_version = 0;
  absl::Time last_active;
};

inline constexpr size_t kKeptKChanges = 64;

enum class ModelState { kUninitialized, kReady, kPoisoned };

struct ModelDescription {
  ModelSpec spec;
  ModelState state = ModelState::kUninitialized;
  // Where its state lies, in the order of its elements. None: it is poisoned,
  // its device was lost, and there was no other.
  std::vector<std::string> devices;
  std::string poison_reason;
  std::optional<Version> version;
  int64_t folded_pushes = 0;
  std::vector<GroupDescription> groups;
  std::vector<MemoryLedger::Row> memory;
  int64_t accumulation_buffer_bytes = 0;
  int64_t published_bytes = 0;
  int64_t publications = 0;
  std::vector<std::string> missing_workers, pushed_workers;
  int64_t short_cycles = 0;
  std::optional<double> last_loss;
  // The last changes of adaptive k, at most kKeptKChanges, oldest first.
  std::vector<rule::KChange> k_changes;
  int64_t micro_steps = 1;  // of the last push that was folded
  int64_t parameter_count = 0;
  int64_t received_bytes = 0;
  int64_t sent_bytes = 0;
  Traffic traffic;
  int64_t lost_pushes = 0;             // when the process last ended
  bool loss_uncertain = false;         // more may have been
  int64_t restored_folded_pushes = 0;  // t when it began; 0: it is new
};

// The pushes' side of an arrival: what Begin found out.
struct BegunPush {
  // The sequence was folded before and the header's checksum says that the
  // payload is the same: answer this, read no payload.
  std::optional<PushOutcome> duplicate;
};

class Model : public std::enable_shared_from_this<Model> {
 public:
  // `spec` has its defaults filled in and passed ValidateSpec. Allocates: not
  // for threads that must not wait. RESOURCE_EXHAUSTED: no memory; INTERNAL
  // kDeviceFault: a GPU failed, or none is left. Either leaves nothing behind.
  static absl::StatusOr<std::shared_ptr<Model>> Create(
      const ModelSpec& spec, const ModelEnvironment& environment);
  virtual ~Model() = default;

  virtual const std::string& name() const = 0;
  virtual const ModelSpec& spec() const = 0;  // as created
  virtual std::shared_ptr<const Layout> layout() const = 0;
  virtual WorkPool* pool() const = 0;
  virtual WorkPool::Lane lane() const = 0;

  // A poisoned model whose GPU is lost begins anew on another.
  // INTERNAL kDeviceFault: the device did not take them; it is poisoned.
  // RESOURCE_EXHAUSTED: no memory for them; poisoned or not, it stays so.
  virtual void Initialize(
      Initialization initialization,
      std::function<void(absl::StatusOr<Version>)> done) = 0;
  virtual void OpenSession(
      SessionRequest request,
      std::function<void(absl::StatusOr<OpenedSession>)> done) = 0;
  virtual void CloseSession(std::string session_id,
                            std::function<void(absl::Status)> done) = 0;

  // A push's header is here. Refuses early what could only be refused later
  // (session, sequence, lineage, staleness, quota, shape); takes `arrival`
  // into account until Leave or Submit. An incomplete arrival of the same
  // session is aborted (SUPERSEDED).
  virtual absl::StatusOr<BegunPush> Begin(const PushHeader& header,
                                          std::shared_ptr<Arrival> arrival) = 0;
  // An arrival that will not be submitted.
  virtual void Leave(const Arrival* arrival) = 0;
  // All of it is here. From now on it is folded or refused, whatever happens
  // to its caller; refused, if its arrival was aborted before. `arrival` is
  // what Begin was given.
  virtual void Submit(std::unique_ptr<Push> push, const Arrival* arrival) = 0;

  // In order, all or none; every group at once at most once.
  virtual void UpdateHyperparameters(
      std::vector<HyperparameterUpdate> updates,
      std::function<void(absl::Status)> done) = 0;
  // With `version` set: nothing happens unless it is the newest.
  virtual void EndCycle(
      std::optional<Version> version,
      std::function<void(absl::StatusOr<EndedCycle>)> done) = 0;

  // NOT_FOUND: deleted; FAILED_PRECONDITION: poisoned.
  virtual absl::Status CheckUsable() const = 0;
  // Whether Initialize may come. NOT_FOUND: deleted; ALREADY_EXISTS: it has
  // parameters, and is not poisoned; UNAVAILABLE: draining.
  virtual absl::Status CheckTakesParameters(bool restore) const = 0;
  // Null while uninitialized.
  virtual std::shared_ptr<const Publication> newest() const = 0;
  // Calls `notice` once per publication, and with a status when the model is
  // deleted or poisoned (before it returns if it is by now), until the
  // subscription is dropped. Short, any thread, no lock of the model held. May
  // run once more while being dropped.
  using Notice =
      std::function<void(absl::StatusOr<std::shared_ptr<const Publication>>)>;
  class Subscription {
   public:
    explicit Subscription(Notice notice) : notice(std::move(notice)) {}
    const Notice notice;
  };
  virtual std::shared_ptr<Subscription> Subscribe(Notice notice) = 0;

  virtual ModelDescription Describe() const = 0;
  virtual std::vector<SessionDescription> Sessions() const = 0;  // by worker
  // Parameter bytes that went to a reader, and messages that went each way.
  virtual void CountSent(int64_t bytes) = 0;
  virtual void CountTraffic(const Traffic& traffic) = 0;

  // Pushes that are not complete are aborted and no new ones begin: UNAVAILABLE
  // DRAINING. Complete ones still fold. `done` runs when none is left: from
  // then on nothing changes what a capture has. All else that would, from the
  // drain's beginning on, is refused in the same way, or, where nobody has
  // asked for it (a cycle's timeout, a session's age), left to the next
  // process.
  virtual void Drain(std::function<void()> done) = 0;
  // Everything that waits is answered NOT_FOUND; nothing is folded any more.
  virtual void Delete() = 0;

  // Goes on from what is stored, before anything else is asked of it: exactly
  // as it was there. DATA_LOSS, UNAVAILABLE: as StateSource::Read; INTERNAL
  // kDeviceFault, RESOURCE_EXHAUSTED: as Initialize's. It is of no use then.
  virtual void Restore(StoredModel stored,
                       std::function<void(absl::Status)> done) = 0;
  // Takes a model that there is back to what is stored, in a new lineage from
  // the stored version on, poisoned ones too. Its sessions stay; who has pushed
  // toward the next version is as it is stored, like the open cycles.
  // FAILED_PRECONDITION: there is no version in it. RESOURCE_EXHAUSTED,
  // UNAVAILABLE: nothing has changed. Else as Restore's: it is poisoned.
  virtual void GoBack(std::shared_ptr<const StateSource> source,
                      std::function<void(absl::StatusOr<Version>)> done) = 0;
  // Makes a change again that was appended after what it was restored from. In
  // their order, one at a time, before Attach. No BeginChange, no
  // RestoreChange. DATA_LOSS kDamaged: it does not follow what the model is;
  // nothing has changed.
  virtual void Replay(Change change,
                      std::function<void(absl::Status)> done) = 0;
  // From now on what changes it is appended first. Before any change that is to
  // be kept; no other thread uses the model yet.
  virtual void Attach(std::shared_ptr<CommitLog> log) = 0;
  // Gives `capture` the state after the steps that were queued by now.
  virtual void CaptureState(std::shared_ptr<Capture> capture) = 0;

  // For tests: runs `look` as a step of the executor. No shard:
  // the model is poisoned, and there is no device for it.
  virtual void Inspect(
      std::function<void(kernels::Shard*, const std::vector<rule::CycleState>&)>
          look) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_MODEL_H_
