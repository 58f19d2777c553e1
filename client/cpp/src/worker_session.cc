#include "client/cpp/src/worker_session.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/error.h"
#include "client/cpp/src/chunk_stream.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/pull.h"
#include "client/cpp/src/retry.h"
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

// The error of a push whose session ended before its answer was there. No code
// that anybody repeats a call for.
absl::Status FateLost(const std::string& worker, int64_t sequence) {
  return absl::UnknownError(absl::StrCat(
      "push ", sequence, " of worker \"", worker,
      "\": its answer was lost, and its session has ended since, so that the "
      "daemon cannot say whether it was folded. It was not sent again: the "
      "model has this gradient once or not at all. Pull, and go on with a new "
      "one"));
}

}  // namespace

WorkerSession::WorkerSession(std::shared_ptr<Channel> channel,
                             std::shared_ptr<const ModelSpec> spec,
                             const WorkerOptions& options)
    : channel_(std::move(channel)),
      spec_(std::move(spec)),
      worker_(options.name),
      // Beside TLS there are no data connections: they would be plain.
      data_route_(channel_->uses_tls()
                      ? std::numeric_limits<int64_t>::max()
                      : channel_->options().data_connection_min_bytes) {
  if (options.compression.encoding != Encoding::kF32) {
    compressor_ =
        std::make_unique<Compressor>(options.compression, ElementCount(*spec_));
  }
  state_.session_id = options.session_id;
}

absl::Status WorkerSession::Open() {
  ACCRUE_ASSIGN_OR_RETURN(
      const v1::OpenSessionResponse response,
      OpenSession(state().session_id, CallDeadline(), Retryable));
  SetState(response);
  return absl::OkStatus();
}

void WorkerSession::SetState(const v1::OpenSessionResponse& response) {
  MutexLock lock(&mutex_);
  state_ = {.session_id = response.session_id(),
            .last_sequence = response.last_sequence()};
  if (response.has_last_response()) {
    state_.last_result = FromProto(response.last_response());
  }
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
  // One that was woken may not take the turn: there may be none any more.
  turn_ended_.SignalAll();
}

absl::StatusOr<PushResult> WorkerSession::Push(const Payload& gradient,
                                               const PushOptions& options,
                                               absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(const Payload payload,
                          Encode(gradient, options, deadline));
  ACCRUE_ASSIGN_OR_RETURN(v1::PushHeader header, MakeHeader(payload, options));
  absl::StatusOr<PushResult> result = PushUntil(payload, &header, deadline);
  NoteFencing(result.status());
  return result;
}

absl::StatusOr<Payload> WorkerSession::Encode(const Payload& gradient,
                                              const PushOptions& options,
                                              absl::Time deadline) {
  if (compressor_ == nullptr) return gradient;
  if (in_doubt()) {
    const absl::Status known = Synchronize(deadline, Retryable).status();
    NoteFencing(known);
    ACCRUE_RETURN_IF_ERROR(known);
  }
  return compressor_->Encode(gradient, options.scale);
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
    if (state().session_id.empty() || in_doubt()) {
      absl::StatusOr<Fate> fate = Synchronize(deadline, NeverRetry);
      if (fate.ok() && attempted) {
        ACCRUE_RETURN_IF_ERROR(fate->lost);
        if (fate->result.has_value()) {
          fate->result->duplicate = true;
          return *std::move(fate->result);
        }
      }
      error = fate.status();
    }
    if (error.ok()) {
      v1::PushResponse response;
      const UploadResult sent = Attempt(gradient, header, deadline, &response);
      attempted = true;
      if (sent.status.ok() && compressor_ != nullptr) compressor_->Folded();
      MutexLock lock(&mutex_);
      traffic_.push_request_bytes += sent.request_bytes;
      traffic_.push_response_bytes += sent.response_bytes;
      if (sent.status.ok()) {
        state_.last_sequence = header->sequence();
        state_.last_result = FromProto(response);
        return *state_.last_result;
      }
      error = sent.status;
      // At once: on another one, and if that is none either, in messages.
      if (GetReason(error) == Reason::kDataConnection) continue;
      if (sent.all_sent && OutcomeUnknown(error)) {
        state_.doubtful_lineage = header->version().lineage();
      }
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

UploadResult WorkerSession::Attempt(const Payload& gradient,
                                    v1::PushHeader* header, absl::Time deadline,
                                    v1::PushResponse* response) {
  const State state = this->state();
  header->set_session_id(state.session_id);
  header->set_sequence(state.last_sequence + 1);
  DataConnection* const data =
      data_route_.Get(channel_->target(), gradient.size_bytes(), deadline);
  header->set_data_connection(data == nullptr ? "" : data->id());
  header->set_data_payload(data == nullptr ? 0 : data->next_payload());
  UploadResult sent = Upload(*channel_,
                             {.method = kPushMethod,
                              .header = *header,
                              .payload = gradient,
                              .deadline = deadline,
                              .data = data},
                             response);
  if (sent.status.ok()) {
    data_route_.Keep();
  } else if (GetReason(sent.status) == Reason::kDataConnection) {
    data_route_.Replace();
  } else {
    // Where a payload was sent in part, or to a daemon that perhaps never saw
    // whose it is, nobody knows where the next one would begin.
    data_route_.Drop();
  }
  return sent;
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
  header.set_model(spec_->name);
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
  request.set_model(spec_->name);
  request.set_worker(worker_);
  request.set_session_id(session_id);
  const Openings::Of of = {.model = spec_->name, .worker = worker_};
  const bool anew = session_id.empty();
  if (anew) request.set_opening(channel_->openings().Take(of));
  v1::OpenSessionResponse response;
  absl::Status opened =
      channel_->Call(kOpenMethod, request, &response, deadline, may_retry);
  if (opened.ok()) return response;
  if (anew) channel_->openings().PutBack(of, request.opening());
  return opened;
}

absl::StatusOr<WorkerSession::Fate> WorkerSession::Synchronize(
    absl::Time deadline, Channel::MayRetry may_retry) {
  const State before = state();
  auto opened = OpenSession(before.session_id, deadline, may_retry);
  if (GetReason(opened.status()) == Reason::kSessionUnknown) {
    opened = OpenSession(/*session_id=*/"", deadline, may_retry);
  }
  ACCRUE_ASSIGN_OR_RETURN(const v1::OpenSessionResponse response,
                          std::move(opened));
  SetState(response);
  Fate fate;
  if (!before.doubtful_lineage.has_value()) return fate;
  if (response.session_id() == before.session_id) {
    if (response.last_sequence() > before.last_sequence) {
      fate.result = last_result();
      if (compressor_ != nullptr) compressor_->Folded();
    }
  } else if (response.has_version() &&
             response.version().lineage() == *before.doubtful_lineage) {
    // Sessions also end by age, and then what they folded stays. In another
    // lineage it does not count: the daemon refuses the push if it is sent
    // again.
    fate.lost = FateLost(worker_, before.last_sequence + 1);
  }
  return fate;
}

absl::StatusOr<std::optional<PushResult>> WorkerSession::Settle(
    absl::Time deadline) {
  std::optional<PushResult> result;
  if (!in_doubt()) return result;
  const absl::StatusOr<Fate> fate = Synchronize(deadline, Retryable);
  NoteFencing(fate.status());
  ACCRUE_RETURN_IF_ERROR(fate.status());
  ACCRUE_RETURN_IF_ERROR(fate->lost);
  return fate->result;
}

absl::Status WorkerSession::Close(absl::Time deadline) {
  v1::CloseSessionRequest request;
  request.set_model(spec_->name);
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
  Traffic traffic;
  absl::StatusOr<PullResult> result =
      PullInto(*channel_, *spec_, into, options, &traffic);
  MutexLock lock(&mutex_);
  traffic_.pull_request_bytes += traffic.pull_request_bytes;
  traffic_.pull_response_bytes += traffic.pull_response_bytes;
  // Of a part of the model no gradient is computed.
  if (result.ok() && options.tensors.empty()) version_ = result->version;
  return result;
}

absl::Time WorkerSession::PushDeadline(const PushOptions& options) const {
  return absl::Now() +
         options.timeout.value_or(channel_->options().transfer_timeout);
}

absl::Time WorkerSession::CallDeadline() const {
  return absl::Now() + channel_->options().call_timeout;
}

bool WorkerSession::in_doubt() const {
  return state().doubtful_lineage.has_value();
}

std::optional<Version> WorkerSession::version() const {
  MutexLock lock(&mutex_);
  return version_;
}

std::vector<float> WorkerSession::residual() const {
  return compressor_ == nullptr ? std::vector<float>()
                                : compressor_->residual();
}

Traffic WorkerSession::traffic() const {
  MutexLock lock(&mutex_);
  return traffic_;
}

std::string WorkerSession::session_id() const { return state().session_id; }

int64_t WorkerSession::last_sequence() const { return state().last_sequence; }

std::optional<PushResult> WorkerSession::last_result() const {
  return state().last_result;
}

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
