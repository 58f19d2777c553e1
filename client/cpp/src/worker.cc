#include "accrue/worker.h"

#include <chrono>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "client/cpp/src/worker_session.h"
#include "server/base/status_macros.h"

namespace accrue::client {

bool PendingPush::done() const {
  return result_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

absl::StatusOr<PushResult> PendingPush::Wait() { return result_.get(); }

Worker::Worker(std::shared_ptr<internal::WorkerSession> session)
    : session_(std::move(session)) {}
Worker::Worker(Worker&&) noexcept = default;
Worker& Worker::operator=(Worker&&) noexcept = default;
Worker::~Worker() = default;

absl::StatusOr<PushResult> Worker::Push(const Payload& gradient,
                                        const PushOptions& options) {
  const absl::Time deadline = session_->PushDeadline(options);
  ACCRUE_RETURN_IF_ERROR(session_->TakeTurn(deadline));
  const absl::Cleanup end_turn = [this] { session_->EndTurn(); };
  return session_->Push(gradient, options, deadline);
}

PendingPush Worker::PushAsync(const Payload& gradient,
                              const PushOptions& options) {
  const absl::Time deadline = session_->PushDeadline(options);
  // Here, not in the background: pushes keep the order of these calls.
  const absl::Status turn = session_->TakeTurn(deadline);
  if (!turn.ok()) {
    std::promise<absl::StatusOr<PushResult>> failed;
    failed.set_value(turn);
    return PendingPush(failed.get_future());
  }
  return PendingPush(std::async(
      std::launch::async, [session = session_, gradient, options, deadline] {
        const absl::Cleanup end_turn = [&] { session->EndTurn(); };
        return session->Push(gradient, options, deadline);
      }));
}

bool Worker::in_doubt() const { return session_->in_doubt(); }

absl::StatusOr<std::optional<PushResult>> Worker::Settle() {
  const absl::Time deadline = session_->CallDeadline();
  ACCRUE_RETURN_IF_ERROR(session_->TakeTurn(deadline));
  const absl::Cleanup end_turn = [this] { session_->EndTurn(); };
  return session_->Settle(deadline);
}

std::vector<float> Worker::residual() const { return session_->residual(); }

Traffic Worker::traffic() const { return session_->traffic(); }

absl::StatusOr<PullResult> Worker::Pull(const PayloadBuffer& into,
                                        const PullOptions& options) {
  return session_->Pull(into, options);
}

absl::StatusOr<PullResult> Worker::PullNewer(const PayloadBuffer& into,
                                             absl::Duration wait) {
  return session_->Pull(
      into, {.have = version(), .wait = wait, .changed_only = true});
}

std::optional<Version> Worker::version() const { return session_->version(); }

absl::Status Worker::Close() {
  const absl::Time deadline = session_->CallDeadline();
  ACCRUE_RETURN_IF_ERROR(session_->TakeTurn(deadline));
  const absl::Cleanup end_turn = [this] { session_->EndTurn(); };
  return session_->Close(deadline);
}

const std::string& Worker::name() const { return session_->worker(); }

std::string Worker::session_id() const { return session_->session_id(); }

int64_t Worker::last_sequence() const { return session_->last_sequence(); }

std::optional<PushResult> Worker::last_result() const {
  return session_->last_result();
}

}  // namespace accrue::client
