#include "server/ingest/ingest.h"

#include <utility>

#include "server/ingest/admission.h"
#include "server/ingest/initialize_arrival.h"
#include "server/ingest/push_arrival.h"
#include "server/ingest/receiver.h"

namespace accrue {

Ingest::Ingest(const IngestOptions& options, FindModel find, TimerQueue* timers,
               MemoryLedger* ledger)
    : core_(std::make_shared<IngestCore>(
          options, std::move(find), timers,
          std::make_shared<Admission>(
              Admission::Options{.budget_bytes = options.ingest_memory_bytes},
              ledger))) {}

Ingest::~Ingest() = default;

std::shared_ptr<PushStream> Ingest::NewPush(absl::Time call_deadline,
                                            StreamCallbacks callbacks,
                                            PushDone done) {
  auto stream = std::make_shared<PushArrival>(
      core_, call_deadline, std::move(callbacks), std::move(done));
  stream->Start();
  return stream;
}

std::shared_ptr<InitializeStream> Ingest::NewInitialize(
    absl::Time call_deadline, StreamCallbacks callbacks,
    std::function<void(absl::StatusOr<Version>)> done) {
  auto stream = std::make_shared<InitializeArrival>(
      core_, call_deadline, std::move(callbacks), std::move(done));
  stream->Start();
  return stream;
}

int64_t Ingest::reserved_bytes() const {
  return core_->admission->reserved_bytes();
}

int64_t Ingest::stream_count() const { return core_->stream_count; }

const IngestOptions& Ingest::options() const { return core_->options; }

}  // namespace accrue
