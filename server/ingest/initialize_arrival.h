// InitializeArrival: an InitializeModel call, from its beginning to its answer.
//
// Errors.    ALREADY_EXISTS kAlreadyInitialized and UNAVAILABLE kDraining with
//            the header; the header's own; the model's (Initialize);
//            Receiver's.
// Threading. safe.
#ifndef ACCRUE_SERVER_INGEST_INITIALIZE_ARRIVAL_H_
#define ACCRUE_SERVER_INGEST_INITIALIZE_ARRIVAL_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ingest/ingest.h"
#include "server/ingest/receiver.h"

namespace accrue {

class InitializeArrival final : public InitializeStream, public Receiver {
 public:
  using Done = std::function<void(absl::StatusOr<Version>)>;

  InitializeArrival(std::shared_ptr<IngestCore> core, absl::Time call_deadline,
                    StreamCallbacks callbacks, Done done)
      : Receiver(std::move(core), call_deadline, std::move(callbacks)),
        done_(std::move(done)) {}

  void OnHeader(InitializeHeader header, ByteChain chunk) override;
  void OnChunk(ByteChain chunk) override { TakeChunk(std::move(chunk)); }
  void OnEnd() override { TakeEnd(); }
  void OnCancelled() override { TakeCancelled(); }
  void OnFault(absl::Status why) override { TakeFault(std::move(why)); }

 private:
  void Begin(InitializeHeader header, ByteChain chunk);
  absl::Status CheckHeader(const InitializeHeader& header) const;
  void Deliver(PayloadAssembly payload,
               Admission::Reservation reservation) override;
  void Refuse(absl::Status why) override { Answer(std::move(why)); }
  void Answer(absl::StatusOr<Version> version);

  InitializeHeader header_;
  Done done_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_INITIALIZE_ARRIVAL_H_
