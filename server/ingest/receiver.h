// Receiver: what pushes and initializations have in common: a header, the wait
// for memory, chunks, the end, and a deadline for each.
//
// Order.     events (of the transport, the timer, admission, the model) come
//            from any thread and run one at a time on the stream's strand,
//            with no lock held. So whatever an event calls may lock what it
//            likes; and what is called under others' locks (Abort, a grant)
//            only leaves a note on the strand and has the pool run it. Locks
//            are taken in this order: the caller's (model, transport), then
//            admission's, then strand's or timers' or pool's, which are leaves.
//            An event that comes while a chunk is being scanned takes effect
//            right after it.
// Memory.    chunks and their reservation are let go before the answer is
//            given.
// Threading. safe.
#ifndef ACCRUE_SERVER_INGEST_RECEIVER_H_
#define ACCRUE_SERVER_INGEST_RECEIVER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/byte_chain.h"
#include "server/base/error.h"
#include "server/base/timer_queue.h"
#include "server/ingest/admission.h"
#include "server/ingest/ingest.h"
#include "server/ingest/payload_assembly.h"
#include "server/ingest/strand.h"
#include "server/model/model.h"

namespace accrue {

// What all streams share.
struct IngestCore {
  IngestCore(const IngestOptions& options, Ingest::FindModel find,
             TimerQueue* timers, std::shared_ptr<Admission> admission)
      : options(options),
        find(std::move(find)),
        timers(timers),
        admission(std::move(admission)) {}

  const IngestOptions options;
  const Ingest::FindModel find;
  TimerQueue* const timers;
  const std::shared_ptr<Admission> admission;
  std::atomic<int64_t> stream_count{0};  // not answered yet
};

class Receiver : public std::enable_shared_from_this<Receiver> {
 public:
  Receiver(std::shared_ptr<IngestCore> core, absl::Time call_deadline,
           StreamCallbacks callbacks);
  virtual ~Receiver();
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  // Reads the header, or refuses one stream too many.
  void Start();

 protected:
  // What the header announces.
  struct Announced {
    absl::string_view noun;  // "gradient"
    int64_t payload_bytes = 0;
    kernels::Encoding encoding = kernels::Encoding::kF32;
    std::optional<uint64_t> checksum = std::nullopt;
    bool stays = false;  // after its stream has been answered
  };

  // The transport's events.
  template <typename Handle>
  void TakeHeader(Handle handle);  // handle() unless it is too late
  void TakeChunk(ByteChain chunk);
  void TakeEnd();
  void TakeCancelled();
  void TakeFault(absl::Status why);
  // Of the model, under its lock.
  void TakeAbort(absl::Status why);
  // Any thread: Arrival::TimeLeft.
  absl::Duration PayloadTimeLeft() const;
  // Any other, of a caller without locks that count.
  template <typename Event>
  void OnStrand(Event event);

  // Everything below runs on the strand.

  // Complete: hand it over. `reservation` is null for an empty payload.
  virtual void Deliver(PayloadAssembly payload,
                       Admission::Reservation reservation) = 0;
  // Refused or gone; nothing of the payload is left. Answer `why`.
  virtual void Refuse(absl::Status why) = 0;

  // Finds the model; what is said about the stream from now on names it.
  absl::Status FindModel(const std::string& name);
  // Waits for memory, then receives, beginning with `first`.
  void Receive(const Announced& announced, ByteChain first);
  // Ends the stream with an error.
  void Fail(absl::Status why);
  // The answer is about to be given: no callback is called any more. False if
  // one was given before.
  bool Close();

  const std::shared_ptr<Model>& model() const { return model_; }
  // An error about this stream's model; Fail adds its version.
  absl::Status Error(absl::StatusCode code, Reason reason,
                     absl::string_view message,
                     absl::Duration retry_after = absl::ZeroDuration()) const;

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase {
    kHeader,     // until the first message
    kWaiting,    // for memory
    kReceiving,  // until the end
    kDelivered,  // the model has it and will answer
    kAnswered,
  };

  void OnPool(absl::AnyInvocable<void()> event);

  void Admitted(Admission::Reservation reservation);
  void AddChunk(ByteChain chunk, bool first);
  void Finish();
  void Release();
  void Uncount();

  Clock::time_point NextDeadline() const;
  // While receiving: from when on it must make room for those who wait.
  Clock::time_point TurnEnd() const;
  void ArmTimer();
  void OnTimer(int64_t number);
  absl::Status Overdue() const;

  const std::shared_ptr<IngestCore> core_;
  Strand strand_;

  // Set on the strand before the model or admission know of the stream, then
  // read by them.
  std::shared_ptr<Model> model_;

  // Of a payload that is being received, for whoever asks.
  struct Pace {
    std::atomic<int64_t> since_ns{0};  // on Clock
    std::atomic<int64_t> progress_ns{0};
    std::atomic<int64_t> received_bytes{0};
    std::atomic<int64_t> payload_bytes{0};
  };
  Pace pace_;

  // The strand's.
  StreamCallbacks callbacks_;
  Phase phase_ = Phase::kHeader;
  bool counted_ = false;  // in core_->stream_count
  std::optional<PayloadAssembly> payload_;
  ByteChain first_;  // while waiting
  Admission::Ticket ticket_;
  Admission::Reservation reservation_;

  const Clock::time_point call_deadline_;
  Clock::time_point phase_since_ = Clock::now();
  Clock::time_point progress_at_;
  // When it was found that its turn is over, but nobody waits.
  Clock::time_point looked_at_;
  // The timer that is set, none at max().
  Clock::time_point timer_at_ = Clock::time_point::max();
  TimerId timer_;
  int64_t timer_number_ = 0;
};

template <typename Event>
void Receiver::OnStrand(Event event) {
  // An event may drop what else keeps the stream alive.
  const std::shared_ptr<Receiver> self = shared_from_this();
  strand_.Run(std::move(event));
}

template <typename Handle>
void Receiver::TakeHeader(Handle handle) {
  OnStrand([this, handle = std::move(handle)]() mutable {
    if (phase_ == Phase::kHeader) handle();
  });
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_RECEIVER_H_
