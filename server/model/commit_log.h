// CommitLog: where what changes a model becomes durable before it happens.
// Capture: takes a model's whole state while it trains on.
// Both are declared here for the executor, and implemented by durability/.
#ifndef ACCRUE_SERVER_MODEL_COMMIT_LOG_H_
#define ACCRUE_SERVER_MODEL_COMMIT_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/model/batch.h"
#include "server/model/gathering.h"
#include "server/model/group_buffer.h"
#include "server/model/publication.h"
#include "server/model/training_state.h"
#include "server/model/version.h"
#include "server/rule/rule_spec.h"

namespace accrue {

// A model's first version, or one that it begins anew with: `state` as it will
// be, parameters by group; all other arrays are zero.
struct BeginChange {
  TrainingState state;
  std::vector<std::shared_ptr<GroupBuffer>> parameters;  // [groups]
};

// A model goes back to what is stored in `source`, but as `state` says.
struct RestoreChange {
  TrainingState state;
  std::shared_ptr<const StateSource> source;
};

// Pushes, or a close: as planned, before it is folded.
struct BatchChange {
  std::shared_ptr<Batch> batch;  // stays as it is until it is durable
  std::vector<int64_t> k;        // [groups] in force
  // What it was planned for, and is made of nothing else.
  Version version;
  int64_t folded_pushes = 0;  // t before it
};

struct SessionOpenChange {
  std::string worker;
  std::string id;
};

// Closed by their workers, or expired.
struct SessionCloseChange {
  std::vector<std::string> ids;
};

struct HyperparameterChange {
  std::vector<rule::Hyperparameters> groups;  // [groups], the newest
};

using Change =
    std::variant<BeginChange, RestoreChange, BatchChange, SessionOpenChange,
                 SessionCloseChange, HyperparameterChange>;

// Order.     one model's changes are made in the order in which they were
//            appended. Append returns at once; `done` runs on the pool, in that
//            order, when the change is durable, or will never be. Only then is
//            it made.
// Errors.    UNAVAILABLE kJournalFailed: it could not be written, and is not
//            made; Journal's say when a restart may make it all the same.
// Threading. Append, NoteChange, NoteFolded: the model's executor.
class CommitLog {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  virtual ~CommitLog() = default;
  // Whether a model waits for its changes to be durable (JOURNAL). Else
  // (MEMORY) only BeginChange and RestoreChange are appended.
  virtual bool journals() const = 0;
  virtual void Append(Change change, Done done) = 0;
  // MEMORY: something is about to change that is neither appended nor a fold.
  virtual void NoteChange() = 0;
  // So much is folded now; nobody who pushed it has heard of it yet. Short, but
  // not called under a lock of the model's: it may write.
  virtual void NoteFolded(const Version& version, int64_t folded_pushes) = 0;
};

// What a step of the executor may read of the model's arrays.
class ArrayReader {
 public:
  virtual ~ArrayReader() = default;
  // A piece, as StateSource::Read. Of groups that do not look ahead,
  // kLookAhead is zero. May wait for a device.
  virtual absl::Status Read(StateArray array, int64_t piece,
                            absl::Span<float> out) const = 0;
};

// What a capture needs not read while the model stands still: it does not
// change.
struct CapturedState {
  TrainingState state;
  // Null: no parameters. While it is kept, one update may be made, and others
  // wait.
  std::shared_ptr<const Publication> newest;
  std::vector<Held> held;  // as state.held
  // Those that Read serves. kParameters are `newest`.
  std::vector<StateArray> arrays;
};

class Capture {
 public:
  virtual ~Capture() = default;
  // First; on the pool, as a step of the executor.
  virtual void Begin(CapturedState captured) = 0;
  // Then, in the same step, until it returns true: it has read all that it
  // wants. False: it has no memory for more; folds wait until it has called
  // `resume`, once, from any thread.
  virtual bool Read(const ArrayReader& arrays,
                    std::function<void()> resume) = 0;
  // Instead of either: the model cannot be captured (deleted, poisoned).
  virtual void Fail(const absl::Status& why) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_COMMIT_LOG_H_
