// Ingest: payloads on their way in, from a call's first message to a complete,
// scanned and hashed ByteChain, within a fixed amount of memory.
//
// A stream waits unread until its payload_bytes (+ 512 a message) fit into the
// budget: first in, first out within a model, round robin between models.
// Every wait is bounded: a header within 10 s, progress every
// push_idle_timeout, the whole within 30 s + bytes/push_min_rate, or, while
// others wait for memory, what is there within push_idle_timeout +
// bytes/push_min_rate; admission within admission_timeout or 1 s before the
// call's own deadline.
//
// Memory.    chunks are kept as they came, uncopied; or (KeepsPayloads(spec))
//            copied when they are read, and let go of then.
// Order.     methods never block; callbacks come from any thread, one at a
//            time per stream, with no lock of ingest held.
// Errors.    those of proto/accrue/v1/error.proto; the budget is free again
//            when the answer is decided, not when the transport is done with
//            the call.
// Threading. safe.
#ifndef ACCRUE_SERVER_INGEST_INGEST_H_
#define ACCRUE_SERVER_INGEST_INGEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/byte_chain.h"
#include "server/base/memory_ledger.h"
#include "server/base/timer_queue.h"
#include "server/kernels/encoding.h"
#include "server/model/model.h"
#include "server/model/model_store.h"
#include "server/model/push.h"
#include "server/model/version.h"

namespace accrue {

struct IngestOptions {
  int64_t ingest_memory_bytes = int64_t{2} << 30;  // --ingest_memory
  int64_t max_push_streams = 4096;                 // --max_push_streams
  absl::Duration header_timeout = absl::Seconds(10);
  absl::Duration push_idle_timeout = absl::Seconds(15);
  absl::Duration push_base_time = absl::Seconds(30);
  int64_t push_min_rate = 4'000'000;  // bytes a second
  absl::Duration admission_timeout = absl::Seconds(60);
};

// What a stream wants of its transport.
struct StreamCallbacks {
  // Read the next message; its answer is OnHeader/OnChunk or OnEnd. Never
  // called while a read is outstanding.
  std::function<void()> read;
};

// One payload-carrying call. The transport calls OnHeader once, then OnChunk
// for every further message, each after a `read`; OnEnd when reading fails
// (the peer finished or went away), OnCancelled when the call was cancelled and
// OnFault when what was read is not fit to be taken.
// A failed read means both "finished" and "gone": a transport that can tell
// that the call was cancelled calls OnCancelled before OnEnd. A first message
// without a header is an OnChunk. All may come late, after the answer was
// decided: they are ignored then.
class PayloadStream {
 public:
  virtual ~PayloadStream() = default;
  virtual void OnChunk(ByteChain chunk) = 0;
  virtual void OnEnd() = 0;
  virtual void OnCancelled() = 0;
  // The answer is to be `why`.
  virtual void OnFault(absl::Status why) = 0;
};

class PushStream : public PayloadStream {
 public:
  // `chunk`: the bytes that came with the header in the first message.
  virtual void OnHeader(PushHeader header, ByteChain chunk) = 0;
};

// First part of InitializeModel's stream.
struct InitializeHeader {
  std::string model;
  std::optional<kernels::Encoding> encoding;  // unset: no values follow
  int64_t payload_bytes = 0;
  std::vector<Initializer> initializers;
  int64_t seed = 0;
  bool restore = false;
  // A file's, instead of values or initializers.
  std::shared_ptr<const StateSource> source;
};

class InitializeStream : public PayloadStream {
 public:
  virtual void OnHeader(InitializeHeader header, ByteChain chunk) = 0;
};

struct IngestCore;

class Ingest {
 public:
  using FindModel = std::function<absl::StatusOr<std::shared_ptr<Model>>(
      const std::string& name)>;

  // All outlive it and its streams, which keep themselves until they are
  // answered.
  Ingest(const IngestOptions& options, ModelStore* store, TimerQueue* timers,
         MemoryLedger* ledger)
      : Ingest(
            options,
            [store](const std::string& name) { return store->Find(name); },
            timers, ledger) {}
  Ingest(const IngestOptions& options, FindModel find, TimerQueue* timers,
         MemoryLedger* ledger);
  ~Ingest();

  // A push call has begun. Calls callbacks.read for its first message. `done`
  // is called exactly once with the answer; afterwards no callback is called.
  // One stream too many is answered before this returns.
  std::shared_ptr<PushStream> NewPush(absl::Time call_deadline,
                                      StreamCallbacks callbacks, PushDone done);
  std::shared_ptr<InitializeStream> NewInitialize(
      absl::Time call_deadline, StreamCallbacks callbacks,
      std::function<void(absl::StatusOr<Version>)> done);

  int64_t reserved_bytes() const;
  int64_t stream_count() const;
  const IngestOptions& options() const;

 private:
  const std::shared_ptr<IngestCore> core_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_INGEST_H_
