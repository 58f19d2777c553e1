#include "client/cpp/src/worker_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/error.h"
#include "client/cpp/src/chunk_stream.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/pull.h"
#include "client/cpp/src/retry.h"
#include "client/cpp/src/upload.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

constexpr char kOpenMethod[] = "/accrue.v1.WorkerService/OpenSession";
constexpr char kCloseMethod[] = "/accrue.v1.WorkerService/CloseSession";
constexpr char kPushMethod[] = "/accrue.v1.WorkerService/Push";

// A refusal that is part of training, and no error.
std::optional<PushResult> AsRefusal(const absl::Status& status) {
  const std::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value()) return std::nullopt;
  switch (detail->reason) {
    case Reason::kNonFinite:
    case Reason::kStale:
    case Reason::kLineageChanged:
    case Reason::kQuota:
    case Reason::kMicroSteps:
      return PushResult{.reason = detail->reason,
                        .message = std::string(status.message()),
                        .version = {.lineage = detail->lineage,
                                    .number = detail->current_version}};
    default:
      return std::nullopt;
  }
}

bool NeverRetry(const absl::Status&) { return false; }

}  // namespace

WorkerSession::WorkerSession(std::shared_ptr<Channel> channel,
                             std::string model, std::string worker,
                             std::string session_id)
    : channel_(std::move(channel)),
      model_(std::move(model)),
      worker_(std::move(worker)) {
  state_.session_id = std::move(session_id);
}

absl::Status WorkerSession::Open() {
  ACCRUE_ASSIGN_OR_RETURN(
      const v1::OpenSessionResponse response,
      OpenSession(state().session_id, CallDeadline(), Retryable));
  MutexLock lock(&mutex_);
  state_ = {.session_id = response.session_id(),
            .last_sequence = response.last_sequence()};
  return absl::OkStatus();
}

absl::Status WorkerSession::TakeTurn(absl::Time deadline) {
  MutexLock lock(&mutex_);
  while (turn_taken_) {
    if (turn_ended_.WaitWithDeadline(&mutex_, deadline) && turn_taken_) {
      return absl::DeadlineExceededError(
          absl::StrCat("worker \"", worker_, "\": another push is in flight"));
    }
  }
  ACCRUE_RETURN_IF_ERROR(over_);
  turn_taken_ = true;
  return absl::OkStatus();
}

void WorkerSession::EndTurn() {
  MutexLock lock(&mutex_);
  turn_taken_ = false;
  turn_ended_.Signal();
}

absl::StatusOr<PushResult> WorkerSession::Push(const Payload& gradient,
                                               const PushOptions& options,
                                               absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(v1::PushHeader header, MakeHeader(gradient, options));
  absl::StatusOr<PushResult> result = PushUntil(gradient, &header, deadline);
  NoteFencing(result.status());
  return result;
}

absl::StatusOr<PushResult> WorkerSession::PushUntil(const Payload& gradient,
                                                    v1::PushHeader* header,
                                                    absl::Time deadline) {
  Retry retry(channel_->options(), deadline);
  // This push's own sequence may be in doubt, or that of a push before it: of
  // the latter only the fate matters, not the response.
  bool attempted = false;
  bool reopened = false;
  while (true) {
    absl::Status error;
    if (state().session_id.empty() || state().in_doubt) {
      auto folded = Synchronize(deadline, NeverRetry);
      if (folded.ok() && attempted && folded->has_value()) {
        PushResult result = FromProto(**folded);
        result.duplicate = true;
        return result;
      }
      error = folded.status();
    }
    if (error.ok()) {
      const State state = this->state();
      header->set_session_id(state.session_id);
      header->set_sequence(state.last_sequence + 1);
      v1::PushResponse response;
      const UploadResult sent = Upload(*channel_, kPushMethod, *header,
                                       gradient, deadline, &response);
      attempted = true;
      MutexLock lock(&mutex_);
      if (sent.status.ok()) {
        state_.last_sequence = header->sequence();
        return FromProto(response);
      }
      error = sent.status;
      state_.in_doubt = sent.all_sent && OutcomeUnknown(error);
      if (GetReason(error) == Reason::kSessionUnknown) {
        state_ = State();
        // At once, but not forever at once.
        if (!std::exchange(reopened, true)) continue;
        error = absl::UnavailableError(error.message());
      }
    }
    if (const auto refusal = AsRefusal(error)) return *refusal;
    if (!Retryable(error) || !retry.Wait(error)) return error;
  }
}

absl::StatusOr<v1::PushHeader> WorkerSession::MakeHeader(
    const Payload& gradient, const PushOptions& options) const {
  const std::optional<Version> computed_from =
      options.version.has_value() ? options.version : version();
  if (!computed_from.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("push of worker \"", worker_,
                     "\": of which version is the gradient? Pull first, or "
                     "say it in the options"));
  }
  v1::PushHeader header;
  header.set_model(model_);
  *header.mutable_version() = ToProto(*computed_from);
  header.set_encoding(ToProto(gradient.encoding()));
  header.set_payload_bytes(gradient.size_bytes());
  header.set_micro_steps(options.micro_steps);
  header.set_scale(options.scale);
  if (options.weight.has_value()) header.set_weight(*options.weight);
  if (options.loss.has_value()) header.set_loss(*options.loss);
  if (gradient.size_bytes() <= channel_->options().checksum_max_bytes) {
    header.set_checksum(Checksum(gradient));
  }
  return header;
}

absl::StatusOr<v1::OpenSessionResponse> WorkerSession::OpenSession(
    const std::string& session_id, absl::Time deadline,
    Channel::MayRetry may_retry) {
  v1::OpenSessionRequest request;
  request.set_model(model_);
  request.set_worker(worker_);
  request.set_session_id(session_id);
  v1::OpenSessionResponse response;
  ACCRUE_RETURN_IF_ERROR(
      channel_->Call(kOpenMethod, request, &response, deadline, may_retry));
  return response;
}

absl::StatusOr<std::optional<v1::PushResponse>> WorkerSession::Synchronize(
    absl::Time deadline, Channel::MayRetry may_retry) {
  const State before = state();
  auto opened = OpenSession(before.session_id, deadline, may_retry);
  if (GetReason(opened.status()) == Reason::kSessionUnknown) {
    // The session is part of the model's state: a daemon that has lost it has
    // lost what it folded too.
    opened = OpenSession(/*session_id=*/"", deadline, may_retry);
  }
  ACCRUE_ASSIGN_OR_RETURN(v1::OpenSessionResponse response, std::move(opened));
  std::optional<v1::PushResponse> folded;
  if (before.in_doubt && response.session_id() == before.session_id &&
      response.last_sequence() == before.last_sequence + 1) {
    folded = std::move(*response.mutable_last_response());
  }
  MutexLock lock(&mutex_);
  state_ = {.session_id = response.session_id(),
            .last_sequence = response.last_sequence()};
  return folded;
}

absl::StatusOr<std::optional<PushResult>> WorkerSession::Settle(
    absl::Time deadline) {
  std::optional<PushResult> result;
  if (!in_doubt()) return result;
  const auto folded = Synchronize(deadline, Retryable);
  NoteFencing(folded.status());
  ACCRUE_RETURN_IF_ERROR(folded.status());
  if (folded->has_value()) result = FromProto(**folded);
  return result;
}

absl::Status WorkerSession::Close(absl::Time deadline) {
  v1::CloseSessionRequest request;
  request.set_model(model_);
  request.set_session_id(state().session_id);
  v1::CloseSessionResponse response;
  ACCRUE_RETURN_IF_ERROR(
      channel_->Call(kCloseMethod, request, &response, deadline));
  MutexLock lock(&mutex_);
  over_ = absl::FailedPreconditionError(
      absl::StrCat("worker \"", worker_, "\" was closed"));
  return absl::OkStatus();
}

absl::StatusOr<PullResult> WorkerSession::Pull(const PayloadBuffer& into,
                                               const PullOptions& options) {
  absl::StatusOr<PullResult> result =
      PullInto(*channel_, model_, into, options);
  MutexLock lock(&mutex_);
  if (result.ok()) version_ = result->version;
  return result;
}

absl::Time WorkerSession::PushDeadline(const PushOptions& options) const {
  return absl::Now() +
         options.timeout.value_or(channel_->options().transfer_timeout);
}

absl::Time WorkerSession::CallDeadline() const {
  return absl::Now() + channel_->options().call_timeout;
}

bool WorkerSession::in_doubt() const { return state().in_doubt; }

std::optional<Version> WorkerSession::version() const {
  MutexLock lock(&mutex_);
  return version_;
}

std::string WorkerSession::session_id() const { return state().session_id; }

int64_t WorkerSession::last_sequence() const { return state().last_sequence; }

void WorkerSession::NoteFencing(const absl::Status& status) {
  if (GetReason(status) != Reason::kSessionFenced) return;
  MutexLock lock(&mutex_);
  over_ = status;
}

WorkerSession::State WorkerSession::state() const {
  MutexLock lock(&mutex_);
  return state_;
}

}  // namespace accrue::client::internal
