// Model: a handle on one model of a daemon. It owns nothing there; copies are
// cheap.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_MODEL_H_
#define ACCRUE_CLIENT_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "accrue/description.h"
#include "accrue/payload.h"
#include "accrue/pull.h"
#include "accrue/spec.h"
#include "accrue/version.h"
#include "accrue/watcher.h"
#include "accrue/worker.h"

namespace accrue::client {

namespace internal {
class Channel;
}  // namespace internal

// The same value everywhere.
struct ConstantInitializer {
  double value = 0;
};
// Uniform in [low, high).
struct UniformInitializer {
  double low = 0;
  double high = 1;
};
struct NormalInitializer {
  double mean = 0;
  double stddev = 1;
};

// How one tensor gets its first values, without sending them.
struct Initializer {
  using Constant = ConstantInitializer;
  using Uniform = UniformInitializer;
  using Normal = NormalInitializer;

  std::string tensor = {};
  std::variant<Constant, Uniform, Normal> kind = {};
};

struct InitializeOptions {
  // Bound on all attempts. Unset: ClientOptions.transfer_timeout.
  std::optional<absl::Duration> timeout = {};
  // Called on the caller's thread as bytes leave, with how many have; a retry
  // begins again. Unset: never.
  std::function<void(int64_t sent_bytes)> progress = {};
  // A poisoned model begins anew; else it refuses (kPoisoned).
  bool restore = false;
};

struct InitializeResult {
  // The first version; where another was first, the newest.
  Version version = {};
  // False: the model had its parameters already, and they stay. (After a lost
  // answer and a retry they may be this call's own.)
  bool initialized = false;
};

// New hyperparameters of one group: fields that are set replace the old ones.
struct GroupUpdate {
  // The group's name. Empty: every group.
  std::string group = {};
  Hyperparameters hyperparameters = {};
};

struct EndCycleResult {
  // The newest version after it.
  Version version = {};
  // Groups that it closed; empty: none was open, or the version had moved on.
  std::vector<std::string> closed_groups = {};
  // Pushes that were missing, by closed group.
  std::vector<int64_t> missing_pushes = {};
};

class Model {
 public:
  // As created, defaults filled in; hyperparameters as they were when this
  // handle was opened.
  const ModelSpec& spec() const { return *spec_; }
  const std::string& name() const { return spec_->name; }
  // Elements over all tensors: the size of a flat gradient or parameter vector.
  int64_t parameter_count() const { return parameter_count_; }

  // Gives the model its first parameters. The first complete one of all
  // workers' wins, atomically, so that each may call it with its own. With
  // `restore`, a poisoned model begins anew with them: a new lineage, from
  // version 0, with the spec's hyperparameters; sessions stay.
  // INVALID_ARGUMENT (kWrongShape, kNonFinite); FAILED_PRECONDITION
  // (kPoisoned); INTERNAL (kDeviceFault): it is poisoned.
  absl::StatusOr<InitializeResult> InitializeValues(
      const Payload& values, const InitializeOptions& options = {}) const;

  // The same from one initializer for every tensor, none left out; the same
  // seed gives the same bits on every server.
  absl::StatusOr<InitializeResult> InitializeWith(
      const std::vector<Initializer>& initializers, int64_t seed,
      const InitializeOptions& options = {}) const;

  // The same from a safetensors file that lies beneath `import` in the daemon's
  // data directory, "llama/model.safetensors": every tensor by its name and
  // shape, in F32, BF16 or F16, and no others.
  // INVALID_ARGUMENT (kWrongShape, kNonFinite) says which tensor; NOT_FOUND;
  // FAILED_PRECONDITION (kNoDataDirectory).
  absl::StatusOr<InitializeResult> InitializeFromImport(
      absl::string_view file, const InitializeOptions& options = {}) const;

  absl::StatusOr<ModelDescription> Describe() const;

  // At each group's next cycle; applied in order, all or none.
  // INVALID_ARGUMENT (kInvalidSpec).
  absl::StatusOr<ModelDescription> UpdateHyperparameters(
      const std::vector<GroupUpdate>& updates) const;

  // Closes the open cycle of every group now: the last window of an epoch. With
  // a version it does nothing unless that is still the newest, and a lost
  // answer is retried; without one, whatever is open is closed, and UNAVAILABLE
  // may mean that it was.
  absl::StatusOr<EndCycleResult> EndCycle(
      const std::optional<Version>& version = std::nullopt) const;

  // Bound on a checkpoint, and on a restore.
  static constexpr absl::Duration kCheckpointTimeout = absl::Minutes(10);

  // Writes the model's whole state to the daemon's disk while it trains on;
  // returns when it is durable there. Where nothing has changed since the
  // newest one: that one.
  // FAILED_PRECONDITION (kNoDataDirectory, kPoisoned); UNAVAILABLE
  // (kCheckpointFailed): it could not be written, and is not tried again.
  absl::StatusOr<CheckpointDescription> Checkpoint(
      absl::Duration timeout = kCheckpointTimeout) const;

  // Newest first. FAILED_PRECONDITION (kNoDataDirectory).
  absl::StatusOr<std::vector<CheckpointDescription>> ListCheckpoints() const;

  // Takes the model back to one of its checkpoints, the newest if none is
  // named; a poisoned one too. What was pushed since is gone: a new lineage, of
  // which each worker hears with its next push (kLineageChanged). Sessions
  // stay. After a lost answer UNAVAILABLE may mean that it was done.
  // NOT_FOUND (kCheckpointUnknown); FAILED_PRECONDITION (kNoDataDirectory,
  // kNotInitialized: the checkpoint has no parameters); DATA_LOSS (kDamaged):
  // the checkpoint is, and nothing has changed; UNAVAILABLE
  // (kCheckpointFailed; without a reason: another call restores or deletes it).
  absl::StatusOr<ModelDescription> Restore(
      absl::string_view checkpoint = {},
      absl::Duration timeout = kCheckpointTimeout) const;

  // Fetches parameters into the caller's memory, see accrue/pull.h.
  absl::StatusOr<PullResult> Pull(const PayloadBuffer& into,
                                  const PullOptions& options = {}) const;

  // Hears of every new version, see accrue/watcher.h. NOT_FOUND
  // (kModelUnknown) and other errors come from Watcher::Next().
  Watcher Watch() const;

  // All sessions, by worker.
  absl::StatusOr<std::vector<SessionDescription>> ListSessions() const;

  // Registers this process as a worker, see accrue/worker.h. NOT_FOUND
  // (kModelUnknown; kSessionUnknown if options.session_id is), and
  // RESOURCE_EXHAUSTED (kLimit) where it stays so.
  absl::StatusOr<Worker> OpenWorker(const WorkerOptions& options = {}) const;

 private:
  friend class Client;
  Model(std::shared_ptr<internal::Channel> channel,
        const ModelDescription& description);

  std::shared_ptr<internal::Channel> channel_;
  std::shared_ptr<const ModelSpec> spec_;
  int64_t parameter_count_;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_MODEL_H_
