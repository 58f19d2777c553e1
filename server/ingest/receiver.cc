#include "server/ingest/receiver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/ingest/pace.h"
#include "server/model/publication.h"

namespace accrue {
namespace {

using Clock = std::chrono::steady_clock;

// A waiting call is answered this long before its own deadline, so that the
// answer arrives.
constexpr absl::Duration kAnswerTime = absl::Seconds(1);
// When a stream that found no room may try again.
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
// How often a slow sender is asked whether others wait for its memory.
constexpr Clock::duration kLookEvery = std::chrono::seconds(1);
// Beyond any deadline, and near enough for the clock's arithmetic.
constexpr absl::Duration kLongest = absl::Hours(24 * 365);

Clock::duration ToClock(absl::Duration duration) {
  return absl::ToChronoNanoseconds(std::clamp(duration, -kLongest, kLongest));
}

// What a payload may take in all.
absl::Duration WholeTime(const IngestOptions& options, int64_t payload_bytes) {
  if (options.push_min_rate <= 0) return absl::InfiniteDuration();
  return options.push_base_time +
         absl::Seconds(static_cast<double>(payload_bytes) /
                       static_cast<double>(options.push_min_rate));
}

}  // namespace

Receiver::Receiver(std::shared_ptr<IngestCore> core, absl::Time call_deadline,
                   StreamCallbacks callbacks)
    : core_(std::move(core)),
      callbacks_(std::move(callbacks)),
      // The wall clock may step: from here on only the steady one counts.
      call_deadline_(Clock::now() + ToClock(call_deadline - absl::Now())) {}

Receiver::~Receiver() {
  Release();
  Uncount();
}

void Receiver::Start() {
  OnStrand([this] {
    counted_ = true;
    if (core_->stream_count.fetch_add(1) >= core_->options.max_push_streams) {
      return Fail(Error(absl::StatusCode::kResourceExhausted, Reason::kLimit,
                        absl::StrCat(core_->options.max_push_streams,
                                     " streams are open already, "
                                     "--max_push_streams allows no more"),
                        kRetryAfter));
    }
    ArmTimer();
    callbacks_.read();
  });
}

void Receiver::TakeChunk(ByteChain chunk) {
  OnStrand([this, chunk = std::move(chunk)]() mutable {
    if (phase_ == Phase::kHeader) {
      return Fail(Error(absl::StatusCode::kInvalidArgument,
                        Reason::kUnspecified,
                        "the first message has no header"));
    }
    if (phase_ == Phase::kReceiving) AddChunk(std::move(chunk), false);
  });
}

void Receiver::TakeEnd() {
  OnStrand([this] {
    if (phase_ == Phase::kHeader) {
      return Fail(Error(absl::StatusCode::kInvalidArgument, Reason::kPartial,
                        "the stream ended before its header"));
    }
    if (phase_ == Phase::kReceiving) Finish();
  });
}

void Receiver::TakeCancelled() {
  OnStrand([this] { Fail(absl::CancelledError("the caller cancelled")); });
}

void Receiver::TakeFault(absl::Status why) {
  OnStrand([this, why = std::move(why)]() mutable { Fail(std::move(why)); });
}

void Receiver::TakeAbort(absl::Status why) {
  OnPool([this, why = std::move(why)]() mutable { Fail(std::move(why)); });
}

// For callers whose locks are unknown.
void Receiver::OnPool(absl::AnyInvocable<void()> event) {
  if (!strand_.Leave(std::move(event))) return;
  model_->pool()->Post(model_->lane(), [self = shared_from_this()] {
    self->strand_.RunQueued();
  });
}

absl::Status Receiver::FindModel(const std::string& name) {
  auto found = core_->find(name);
  if (!found.ok()) return std::move(found).status();
  model_ = *std::move(found);
  return absl::OkStatus();
}

void Receiver::Receive(const Announced& announced, ByteChain first) {
  const int64_t bytes = announced.payload_bytes;
  payload_.emplace(PayloadAssembly::Expected{
      .what = absl::StrCat(absl::string_view(announced.noun), " for model \"",
                           model_->name(), "\""),
      .subject = model_->name(),
      .payload_bytes = bytes,
      .blocks = model_->layout()->blocks(),
      .encoding = announced.encoding,
      .checksum = announced.checksum,
      .copies = announced.stays});
  first_ = std::move(first);
  if (bytes == 0) return Admitted(nullptr);
  if (bytes > core_->options.ingest_memory_bytes) {
    return Fail(Error(
        absl::StatusCode::kResourceExhausted, Reason::kIngestMemory,
        absl::StrCat(payload_->what(), ": ", bytes,
                     " bytes can never fit into ", "--ingest_memory, which is ",
                     core_->options.ingest_memory_bytes)));
  }

  phase_ = Phase::kWaiting;
  phase_since_ = Clock::now();
  auto asked = core_->admission->Ask(
      model_.get(), Admission::ChargeOf(bytes), first_.size_bytes(),
      [weak = weak_from_this()](Admission::Reservation reservation) {
        const std::shared_ptr<Receiver> self = weak.lock();
        if (self == nullptr) return;
        self->OnPool([receiver = self.get(),
                      reservation = std::move(reservation)]() mutable {
          receiver->Admitted(std::move(reservation));
        });
      });
  if (!asked.ok()) return Fail(std::move(asked).status());
  if (asked->reservation != nullptr) {
    return Admitted(std::move(asked->reservation));
  }
  ticket_ = std::move(asked->ticket);
  ArmTimer();
}

void Receiver::Admitted(Admission::Reservation reservation) {
  // Granted in the very moment in which it gave up: it goes straight back.
  if (phase_ > Phase::kWaiting) return;
  ticket_ = nullptr;
  reservation_ = std::move(reservation);
  phase_ = Phase::kReceiving;
  phase_since_ = progress_at_ = Clock::now();
  pace_.payload_bytes = payload_->payload_bytes();
  pace_.since_ns = phase_since_.time_since_epoch().count();
  AddChunk(std::move(first_), true);
}

void Receiver::AddChunk(ByteChain chunk, bool first) {
  const int64_t size = chunk.size_bytes();
  absl::Status added = first ? payload_->AddFirst(std::move(chunk))
                             : payload_->Add(std::move(chunk));
  if (!added.ok()) return Fail(std::move(added));
  if (size > 0) progress_at_ = Clock::now();
  pace_.progress_ns = progress_at_.time_since_epoch().count();
  pace_.received_bytes = payload_->received_bytes();
  ArmTimer();
  // The next one may arrive while this one is scanned: on another thread, which
  // leaves it to the strand.
  callbacks_.read();
  payload_->Scan();
}

void Receiver::Finish() {
  absl::Status complete = payload_->Finish();
  if (!complete.ok()) return Fail(std::move(complete));
  phase_ = Phase::kDelivered;
  PayloadAssembly payload = *std::move(payload_);
  Admission::Reservation reservation = std::move(reservation_);
  Release();
  Deliver(std::move(payload), std::move(reservation));
}

void Receiver::Fail(absl::Status why) {
  if (phase_ >= Phase::kDelivered) return;
  // Whatever Refuse calls, nothing else happens any more.
  phase_ = Phase::kDelivered;
  Release();
  if (const auto newest = model_ == nullptr ? nullptr : model_->newest()) {
    const Version& version = newest->facts().version;
    why = WithVersion(why, version.number, version.lineage);
  }
  Refuse(std::move(why));
}

void Receiver::Release() {
  if (timer_at_ != Clock::time_point::max()) core_->timers->Cancel(timer_);
  timer_at_ = Clock::time_point::max();
  if (ticket_ != nullptr) {
    core_->admission->Cancel(std::exchange(ticket_, nullptr));
  }
  first_.Clear();
  payload_.reset();
  reservation_ = nullptr;
}

void Receiver::Uncount() {
  if (std::exchange(counted_, false)) core_->stream_count.fetch_sub(1);
}

bool Receiver::Close() {
  if (phase_ == Phase::kAnswered) return false;
  phase_ = Phase::kAnswered;
  Release();
  Uncount();
  callbacks_ = {};
  return true;
}

absl::Status Receiver::Error(absl::StatusCode code, Reason reason,
                             absl::string_view message,
                             absl::Duration retry_after) const {
  ErrorInfo info;
  info.reason = reason;
  info.retry_after = retry_after;
  if (model_ != nullptr) info.subject = model_->name();
  return MakeError(code, info, message);
}

absl::Duration Receiver::PayloadTimeLeft() const {
  const int64_t received = pace_.received_bytes;
  const int64_t progress_ns = pace_.progress_ns;
  return TimeLeftAt(
      received, pace_.payload_bytes,
      absl::Nanoseconds(progress_ns - pace_.since_ns),
      absl::Nanoseconds(Clock::now().time_since_epoch().count() - progress_ns));
}

Receiver::Clock::time_point Receiver::NextDeadline() const {
  const IngestOptions& options = core_->options;
  switch (phase_) {
    case Phase::kHeader:
      return phase_since_ + ToClock(options.header_timeout);
    case Phase::kWaiting:
      return std::min(phase_since_ + ToClock(options.admission_timeout),
                      call_deadline_ - ToClock(kAnswerTime));
    case Phase::kReceiving:
      return std::min({progress_at_ + ToClock(options.push_idle_timeout),
                       phase_since_ + ToClock(WholeTime(
                                          options, payload_->payload_bytes())),
                       std::max(TurnEnd(), looked_at_ + kLookEvery)});
    case Phase::kDelivered:
    case Phase::kAnswered:
      break;
  }
  return Clock::time_point::max();
}

// A trickle is no progress to those who wait for its memory: to them a sender
// is as good as idle once it is push_idle_timeout behind push_min_rate.
Receiver::Clock::time_point Receiver::TurnEnd() const {
  const IngestOptions& options = core_->options;
  absl::Duration turn = absl::InfiniteDuration();
  if (options.push_min_rate > 0) {
    turn = options.push_idle_timeout +
           absl::Seconds(static_cast<double>(payload_->received_bytes()) /
                         static_cast<double>(options.push_min_rate));
  }
  return phase_since_ + ToClock(turn);
}

// One timer serves all deadlines: one that turns out to be early when it fires
// is set again, so that no chunk has to touch it.
void Receiver::ArmTimer() {
  const Clock::time_point deadline = NextDeadline();
  if (timer_at_ <= deadline) return;
  if (timer_at_ != Clock::time_point::max()) core_->timers->Cancel(timer_);
  timer_at_ = deadline;
  timer_ =
      core_->timers->At(absl::Now() + absl::FromChrono(deadline - Clock::now()),
                        [weak = weak_from_this(), number = ++timer_number_] {
                          const std::shared_ptr<Receiver> self = weak.lock();
                          if (self == nullptr) return;
                          self->OnStrand([receiver = self.get(), number] {
                            receiver->OnTimer(number);
                          });
                        });
}

void Receiver::OnTimer(int64_t number) {
  // One that could not be cancelled any more when another was set.
  if (number != timer_number_) return;
  timer_at_ = Clock::time_point::max();
  if (phase_ >= Phase::kDelivered) return;
  if (phase_ == Phase::kReceiving && Clock::now() >= TurnEnd() &&
      core_->admission->waiting_count() == 0) {
    looked_at_ = Clock::now();
  }
  if (NextDeadline() > Clock::now()) return ArmTimer();
  Fail(Overdue());
}

absl::Status Receiver::Overdue() const {
  const IngestOptions& options = core_->options;
  if (phase_ == Phase::kHeader) {
    return Error(absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush,
                 absl::StrCat("no header within ",
                              absl::FormatDuration(options.header_timeout)));
  }
  if (phase_ == Phase::kWaiting) {
    return Error(
        absl::StatusCode::kResourceExhausted, Reason::kIngestMemory,
        absl::StrCat(payload_->what(), ": no room for ",
                     payload_->payload_bytes(), " bytes in --ingest_memory (",
                     options.ingest_memory_bytes, ") within ",
                     absl::FormatDuration(
                         absl::FromChrono(Clock::now() - phase_since_))),
        kRetryAfter);
  }
  const bool idle =
      Clock::now() - progress_at_ >= ToClock(options.push_idle_timeout);
  return Error(
      absl::StatusCode::kDeadlineExceeded, Reason::kSlowPush,
      absl::StrCat(
          payload_->what(), ": ", payload_->received_bytes(), " of ",
          payload_->payload_bytes(), " bytes, ",
          idle ? absl::StrCat("no more for ",
                              absl::FormatDuration(options.push_idle_timeout))
               : absl::StrCat("fewer than --push_min_rate (",
                              options.push_min_rate, " a second)")));
}

}  // namespace accrue
