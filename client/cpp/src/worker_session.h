// WorkerSession: a worker's session: its id and sequences, the push in flight,
// the push in doubt.
//
// The cycle of a push: open a session, if there is none; settle the push in
// doubt, if there is one, by asking the daemon for the session's last sequence;
// send the next sequence; then by the outcome
//   folded, refused       done
//   unknown, all sent     in doubt: settle, and send again if it was not
//                         folded; an error if the daemon no longer knows the
//                         session but still has the push's lineage
//   unknown, not all sent send again: half a push is never folded
//   session unknown       open anew, send again
//   try again later       back off, send again
// until the deadline, which may leave the push in doubt. Wherever it turns out
// that a push was folded, the compressor hears of it; and no gradient is
// encoded before the fate of the one before is known.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_WORKER_SESSION_H_
#define ACCRUE_CLIENT_CPP_SRC_WORKER_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/payload.h"
#include "accrue/pull.h"
#include "accrue/spec.h"
#include "accrue/v1/worker_service.pb.h"
#include "accrue/version.h"
#include "accrue/worker.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/compressor.h"
#include "client/cpp/src/data_connection.h"
#include "client/cpp/src/upload.h"
#include "server/base/mutex.h"

namespace accrue::client::internal {

class WorkerSession {
 public:
  WorkerSession(std::shared_ptr<Channel> channel,
                std::shared_ptr<const ModelSpec> spec,
                const WorkerOptions& options);

  // Opens the session, or resumes the one given.
  absl::Status Open();

  // The right to push: one at a time.
  // DEADLINE_EXCEEDED: another push has it. FAILED_PRECONDITION, ABORTED: the
  // session was closed, or lost to another process.
  absl::Status TakeTurn(absl::Time deadline);
  void EndTurn();

  // These need the turn. Its caller ends it.
  absl::StatusOr<PushResult> Push(const Payload& gradient,
                                  const PushOptions& options,
                                  absl::Time deadline);
  absl::StatusOr<std::optional<PushResult>> Settle(absl::Time deadline);
  absl::Status Close(absl::Time deadline);

  absl::StatusOr<PullResult> Pull(const PayloadBuffer& into,
                                  const PullOptions& options);

  absl::Time PushDeadline(const PushOptions& options) const;
  absl::Time CallDeadline() const;

  const std::string& worker() const { return worker_; }
  bool in_doubt() const;
  std::optional<Version> version() const;
  std::vector<float> residual() const;
  Traffic traffic() const;
  std::string session_id() const;
  int64_t last_sequence() const;
  std::optional<PushResult> last_result() const;

 private:
  // As the daemon has it: changed by the thread whose turn it is, but read by
  // any.
  struct State {
    std::string session_id = {};  // empty: to be opened
    int64_t last_sequence = 0;
    std::optional<PushResult> last_result = {};
    // The next sequence was sent, whole, and its outcome is unknown: the
    // lineage that it was for.
    std::optional<std::string> doubtful_lineage = {};
  };

  // What became of a push in doubt.
  struct Fate {
    // Set if it was folded.
    std::optional<PushResult> result = {};
    // Not OK: nobody can know.
    absl::Status lost = {};
  };

  // OpenSession, with this id or none.
  absl::StatusOr<v1::OpenSessionResponse> OpenSession(
      const std::string& session_id, absl::Time deadline,
      Channel::MayRetry may_retry);

  // Opens or resumes the session. Afterwards nothing is in doubt.
  absl::StatusOr<Fate> Synchronize(absl::Time deadline,
                                   Channel::MayRetry may_retry);

  void SetState(const v1::OpenSessionResponse& response);

  // What is sent of a gradient.
  absl::StatusOr<Payload> Encode(const Payload& gradient,
                                 const PushOptions& options,
                                 absl::Time deadline);

  absl::StatusOr<PushResult> PushUntil(const Payload& gradient,
                                       v1::PushHeader* header,
                                       absl::Time deadline);

  // Sends the next sequence, once: on the data connection, if there is one.
  UploadResult Attempt(const Payload& gradient, v1::PushHeader* header,
                       absl::Time deadline, v1::PushResponse* response);

  absl::StatusOr<v1::PushHeader> MakeHeader(const Payload& gradient,
                                            const PushOptions& options) const;

  // Remembers a session that another process has taken over: asking the daemon
  // again might, once it has forgotten, take it back from there.
  void NoteFencing(const absl::Status& status);

  State state() const;

  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<const ModelSpec> spec_;
  const std::string worker_;
  // Null: gradients are sent as they are. Of the thread whose turn it is.
  std::unique_ptr<Compressor> compressor_;
  DataRoute data_route_;  // the same thread's

  mutable Mutex mutex_;
  CondVar turn_ended_;
  bool turn_taken_ ACCRUE_GUARDED_BY(mutex_) = false;
  absl::Status over_ ACCRUE_GUARDED_BY(mutex_);  // why there are no more turns
  State state_ ACCRUE_GUARDED_BY(mutex_);
  std::optional<Version> version_ ACCRUE_GUARDED_BY(mutex_);
  Traffic traffic_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_WORKER_SESSION_H_
