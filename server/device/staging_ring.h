// StagingRing: the slots through which bytes get to a GPU and back, each with
// pinned memory, device memory and a stream of its own, so that one slot's copy
// overlaps another's kernels and the host's filling of a third.
//
// Order.     Acquire -> fill host() -> queue copies and kernels on stream() ->
//            Release. A slot is handed out again only when all that was queued
//            on its stream has ended, and after its `ended` has been called.
// Units.     bytes
// Memory.    allocated once, charged to the ledger as staging.
// Errors.    what a slot's work failed with goes to its own `ended` alone.
// Threading. safe. Acquire and Finish block; `ended` runs on a thread that is
//            in one of them, without any lock held, perhaps while another runs.
//            It must not call the ring.
#ifndef ACCRUE_SERVER_DEVICE_STAGING_RING_H_
#define ACCRUE_SERVER_DEVICE_STAGING_RING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/device/gpu.h"

namespace accrue {

struct StagingOptions {
  int slots = 4;  // at least 2
  // Of a slot: on the host and on the device.
  int64_t slot_bytes = int64_t{16} << 20;
  MemoryLedger* ledger = nullptr;  // null: charged to nobody
};

class StagingRing {
 public:
  class Slot {
   public:
    std::byte* host() const { return static_cast<std::byte*>(host_.data()); }
    std::byte* device() const {
      return static_cast<std::byte*>(device_.data());
    }
    int64_t size_bytes() const { return host_.size_bytes(); }
    Stream& stream() const { return *stream_; }

   private:
    friend class StagingRing;
    enum class State { kFree, kFilling, kRunning, kEnding };

    Buffer host_, device_;
    std::unique_ptr<Stream> stream_;  // gone before the memory it works on
    std::unique_ptr<Event> event_;
    State state_ = State::kFree;   // under the ring's lock
    const void* owner_ = nullptr;  // likewise
    bool recorded_ = false;
    absl::Status queued_;
    std::function<void(const absl::Status&)> ended_;
  };

  // RESOURCE_EXHAUSTED: no memory for so many slots.
  static absl::StatusOr<std::unique_ptr<StagingRing>> Make(
      Gpu* gpu, const StagingOptions& options);
  // Waits for what is running.
  ~StagingRing();
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  int64_t slot_bytes() const { return slot_bytes_; }
  // Of all slots: on the host, and as much on the device.
  int64_t size_bytes() const {
    return slot_bytes_ * static_cast<int64_t>(slots_.size());
  }

  // A slot for the caller alone: a free one, or the one released first, once
  // its work has ended. Blocks. Every slot must be released.
  Slot* Acquire() ACCRUE_EXCLUDES(mu_);

  // All that is wanted of the slot is queued, unless `queued` says why not.
  // `ended` is called exactly once, with that or with what the work failed
  // with, when the slot's stream has come to its end. `owner`: for Finish.
  void Release(Slot* slot, const void* owner, absl::Status queued,
               std::function<void(const absl::Status&)> ended)
      ACCRUE_EXCLUDES(mu_);

  // Returns when every slot that was released for `owner` has ended, and its
  // `ended` has returned and is gone with all that it holds. Blocks.
  void Finish(const void* owner) ACCRUE_EXCLUDES(mu_);

 private:
  explicit StagingRing(int64_t slot_bytes) : slot_bytes_(slot_bytes) {}
  // Waits for the work of one that is running, without the lock.
  void End(Slot* slot, Slot::State then) ACCRUE_REQUIRES(mu_);

  const int64_t slot_bytes_;
  Mutex mu_;
  CondVar changed_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> running_ ACCRUE_GUARDED_BY(mu_);  // oldest first
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_STAGING_RING_H_
