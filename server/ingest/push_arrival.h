// PushArrival: a push from its call's beginning to its answer.
//
// Errors.    the header's, which contradict themselves or the model; the
//            model's (Begin, Abort, Submit); Receiver's.
// Threading. safe.
#ifndef ACCRUE_SERVER_INGEST_PUSH_ARRIVAL_H_
#define ACCRUE_SERVER_INGEST_PUSH_ARRIVAL_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ingest/ingest.h"
#include "server/ingest/receiver.h"
#include "server/model/push.h"

namespace accrue {

class PushArrival final : public PushStream, public Arrival, public Receiver {
 public:
  PushArrival(std::shared_ptr<IngestCore> core, absl::Time call_deadline,
              StreamCallbacks callbacks, PushDone done)
      : Receiver(std::move(core), call_deadline, std::move(callbacks)),
        done_(std::move(done)) {}

  void OnHeader(PushHeader header, ByteChain chunk) override;
  void OnChunk(ByteChain chunk) override { TakeChunk(std::move(chunk)); }
  void OnEnd() override { TakeEnd(); }
  void OnCancelled() override { TakeCancelled(); }
  void OnFault(absl::Status why) override { TakeFault(std::move(why)); }
  void Abort(absl::Status why) override { TakeAbort(std::move(why)); }
  absl::Duration TimeLeft() const override { return PayloadTimeLeft(); }

 private:
  void Begin(PushHeader header, ByteChain chunk);
  absl::Status CheckHeader(const PushHeader& header) const;
  void Deliver(PayloadAssembly payload,
               Admission::Reservation reservation) override;
  void Refuse(absl::Status why) override;
  void Leave();
  void Answer(absl::StatusOr<PushOutcome> outcome);
  std::shared_ptr<PushArrival> Self() {
    return std::static_pointer_cast<PushArrival>(shared_from_this());
  }

  PushHeader header_;
  bool begun_ = false;  // the model knows of it
  PushDone done_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_PUSH_ARRIVAL_H_
