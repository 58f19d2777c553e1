// Worker: one worker's session with a model. It pushes gradients, each folded
// exactly once, and pulls parameters.
//
//   absl::StatusOr<Worker> worker = model.OpenWorker();
//   std::vector<float> parameters(model.parameter_count());
//   std::vector<float> gradient(model.parameter_count());
//   worker->Pull(&parameters);
//   for (...) {
//     ...compute gradient at parameters...
//     absl::StatusOr<PushResult> pushed =
//         worker->Push(gradient, {.loss = loss});
//     if (!pushed.ok()) return pushed.status();
//     worker->PullNewer(&parameters, absl::Seconds(10));
//   }
//   worker->Close();
//
// Exactly once. Pushes carry a sequence number. Where an attempt's fate is
//            unknown (the connection broke before the answer) the library asks
//            the daemon, and sends again only what was not folded. Only a
//            timeout leaves a push in doubt: see Push() and Settle(). Where
//            the session has ended meanwhile (it was idle for as long as the
//            daemon's --session_ttl) nobody can tell any more: that is an
//            error, and the push is not sent again.
// Restarts.  Pushes and pulls sit out a restart of a daemon that keeps its
//            models (--data_dir): they return when it is back, within their
//            timeout (ClientOptions.transfer_timeout, 5 minutes; call_timeout,
//            1 minute, of calls without parameters). Under
//            Durability::kJournal, and after a restart in order, that is all.
//            Under kMemory a crash loses what came after the newest checkpoint,
//            and the next gradient of what is lost is refused, once: accepted =
//            false, kLineageChanged. A model that is gone is an error, at once:
//            NOT_FOUND (kModelUnknown).
// Sessions.  A session that the daemon has forgotten is opened anew. One that
//            another process has taken over, by opening a worker of the same
//            name, is lost: every later push fails with ABORTED
//            (kSessionFenced).
// Threading. safe. One push is in flight at a time, later ones wait for it;
//            pulls run beside it.

#ifndef ACCRUE_CLIENT_WORKER_H_
#define ACCRUE_CLIENT_WORKER_H_

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/compression.h"
#include "accrue/error.h"
#include "accrue/payload.h"
#include "accrue/pull.h"
#include "accrue/traffic.h"
#include "accrue/version.h"

namespace accrue::client {

namespace internal {
class Channel;
class WorkerSession;
}  // namespace internal

struct WorkerOptions {
  // Unique among the model's workers, 1 to 255 bytes. Empty: host-pid-random.
  std::string name = {};
  // Resume this session (Worker::session_id(), kept over a restart of the
  // process) instead of opening a new one. Needs its name.
  std::string session_id = {};
  // How gradients are sent; as they are, if not said. INVALID_ARGUMENT: a
  // top_fraction that cannot be.
  Compression compression = {};
};

struct PushOptions {
  // The version that the gradient was computed from. Unset: the one that this
  // worker pulled last.
  std::optional<Version> version = {};
  // The gradient is the mean over this many micro-batches and counts as as many
  // pushes.
  int64_t micro_steps = 1;
  // Samples, tokens, ...: relative to the model's nominal_weight, which is also
  // what an unset one means.
  std::optional<double> weight = {};
  // What is sent is this times the gradient (loss scaling).
  double scale = 1;
  // The loss, for whoever watches.
  std::optional<double> loss = {};
  // Bound on all attempts. Unset: ClientOptions.transfer_timeout.
  std::optional<absl::Duration> timeout = {};
};

// The place of a group after a push.
struct PushedGroup {
  int64_t updates = 0;   // u: updates so far
  int64_t position = 0;  // pushes in the open cycle
  int64_t k = 0;         // k in force
};

struct PushResult {
  // False: the gradient was refused, nothing has changed, and training goes on
  // as `reason` says. The fields from `published` on are then not set.
  //   kNonFinite       a skipped step (lower the loss scale)
  //   kStale           pull and recompute
  //   kLineageChanged  pull everything and recompute
  //   kQuota           this worker's share of the cycle is used: pull with wait
  //   kMicroSteps      the cycle's other pushes have another micro_steps
  bool accepted = false;
  Reason reason = Reason::kUnspecified;
  // Why, in words, where it was not accepted.
  std::string message = {};

  // The newest version after this push, or when it was refused.
  Version version = {};
  // This push ended a cycle: `version` is its work.
  bool published = false;
  // It had been folded by an attempt whose answer was lost; this is its first
  // response.
  bool duplicate = false;
  // t: pushes folded into the model so far, this one included.
  int64_t folded_pushes = 0;
  // In the spec's order.
  std::vector<PushedGroup> groups = {};
};

// A push that goes on by itself. Wait for it before the gradient's memory is
// reused; the destructor waits too.
class PendingPush {
 public:
  PendingPush(PendingPush&&) noexcept = default;
  PendingPush& operator=(PendingPush&&) noexcept = default;

  // True: Wait() returns at once.
  bool done() const;
  // As Push(). At most once.
  absl::StatusOr<PushResult> Wait();

 private:
  friend class Worker;
  explicit PendingPush(std::future<absl::StatusOr<PushResult>> result)
      : result_(std::move(result)) {}

  std::future<absl::StatusOr<PushResult>> result_;
};

class Worker {
 public:
  Worker(Worker&&) noexcept;
  Worker& operator=(Worker&&) noexcept;
  // Leaves the session open; see Close().
  ~Worker();

  // Sends one gradient and returns once the daemon has folded, or refused, it.
  //
  // Memory.  The gradient is sent from where it lies; Push() returns only when
  //          the transport has let go of all of it. A connection that still
  //          holds it when the timeout is over is cut (its other calls are
  //          retried on a new one), so that takes no longer than about 0.1 s.
  // Errors.  INVALID_ARGUMENT (kWrongShape, ...); FAILED_PRECONDITION
  //          (kNotInitialized, kPoisoned; without a reason: this worker has
  //          never pulled the whole model and options.version is unset);
  //          OUT_OF_RANGE (kFuture); ABORTED (kSessionFenced); NOT_FOUND
  //          (kModelUnknown); UNAUTHENTICATED, PERMISSION_DENIED; DATA_LOSS
  //          (kDamaged). In all of these the push was not folded, unless
  //          in_doubt(): the session was lost, or the token taken back, before
  //          its fate could be asked for.
  //          DEADLINE_EXCEEDED, UNAVAILABLE, RESOURCE_EXHAUSTED: time is over;
  //          if in_doubt(), the push may have been folded: ask Settle() rather
  //          than push it again.
  //          UNKNOWN: the answer was lost and the session has ended since, so
  //          that it was folded once or not at all: pull, and go on with
  //          another gradient (accrue/compression.h: what that costs the
  //          residual).
  absl::StatusOr<PushResult> Push(const Payload& gradient,
                                  const PushOptions& options = {});

  // The same, in the background. Waits first if a push is in flight.
  PendingPush PushAsync(const Payload& gradient,
                        const PushOptions& options = {});

  // True after a push that ended without the daemon's answer. The next push
  // settles it by itself, but only Settle() tells how it ended.
  bool in_doubt() const;

  // The fate of the push in doubt: its result if it was folded, nothing if it
  // was not (or only in a lineage that is no more). Nothing also if no push is
  // in doubt. UNKNOWN: nobody can tell any more, as for Push(); it is no longer
  // in doubt then. Other errors leave it in doubt.
  absl::StatusOr<std::optional<PushResult>> Settle();

  // What compression has held back of all gradients so far; empty without error
  // feedback.
  std::vector<float> residual() const;

  // Bytes of this worker's pushes and pulls so far, of all attempts.
  Traffic traffic() const;

  // Fetches parameters, see accrue/pull.h.
  absl::StatusOr<PullResult> Pull(const PayloadBuffer& into,
                                  const PullOptions& options = {});

  // Pull, unless `into` already holds the newest: it must be what this worker
  // pulled into last. Waits up to `wait` for a version newer than that; then
  // the result is `unchanged`. Groups that did not change are not sent. At the
  // first call it is a plain Pull.
  absl::StatusOr<PullResult> PullNewer(const PayloadBuffer& into,
                                       absl::Duration wait);

  // The version pulled last, whole; unset before the first. A pull with a
  // tensor filter leaves it as it is.
  std::optional<Version> version() const;

  // Ends the session: the daemon no longer waits for, or lists, this worker.
  // Waits for a push in flight. Later pushes fail with FAILED_PRECONDITION.
  absl::Status Close();

  const std::string& name() const;
  // Changes when a forgotten session is opened anew.
  std::string session_id() const;
  // The sequence of the last push known to be folded; 0 before the first.
  int64_t last_sequence() const;
  // That push's result; unset before the first. Tells a process that resumes a
  // session what became of the push whose answer it did not live to see.
  std::optional<PushResult> last_result() const;

 private:
  friend class Model;
  explicit Worker(std::shared_ptr<internal::WorkerSession> session);

  std::shared_ptr<internal::WorkerSession> session_;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_WORKER_H_
