// GroupBuffer: one version of one group's parameters, and its 16-bit copies.
//
// Shapes.    floats: [group_elems]; a copy: [group_elems] of 2 bytes.
// Memory.    host memory of the model's device. A buffer is written by one
//            pass, then shared, immutable, by publications; when the last of
//            them goes it is recycled, its copies' memory with it.
// Order.     a copy is made by the pass that makes the version, or when the
//            first reader asks for it. Memory comes from a driver who may take
//            his time: no lock is held meanwhile.
// Threading. safe once published.
#ifndef ACCRUE_SERVER_MODEL_GROUP_BUFFER_H_
#define ACCRUE_SERVER_MODEL_GROUP_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"
#include "server/base/mutex.h"
#include "server/base/work_pool.h"
#include "server/device/device.h"
#include "server/kernels/encoding.h"

namespace accrue {

// Whether copies in an encoding may take memory at all.
class CopyPermit {
 public:
  virtual ~CopyPermit() = default;
  // RESOURCE_EXHAUSTED: there is no room for them. Any thread.
  virtual absl::Status Permit(kernels::Encoding encoding) = 0;
};

class GroupBuffer {
 public:
  // All but the floats outlive it.
  GroupBuffer(Buffer floats, int64_t elems, CopyPermit* permit, Device* device,
              MemoryLedger* ledger)
      : floats_(std::move(floats)),
        elems_(elems),
        permit_(permit),
        device_(device),
        ledger_(ledger) {}

  float* floats() { return static_cast<float*>(floats_.data()); }
  const float* floats() const {
    return static_cast<const float*>(floats_.data());
  }
  int64_t elems() const { return elems_; }

  // Makes sure that the copy in `encoding` (not F32) exists, on `pool`, its
  // memory too, and calls `done`: there, or before this returns if it exists.
  // The caller keeps the buffer alive until then.
  // RESOURCE_EXHAUSTED: no memory for it, told to all who wait for it; who asks
  // later tries again.
  void Prepare(kernels::Encoding encoding, WorkPool* pool,
               const WorkPool::Lane& lane,
               std::function<void(absl::Status)> done);
  // Encodings in which a reader has wanted this version.
  std::vector<kernels::Encoding> asked_for() const;

  // Before it is published: where the pass may write the copy in `encoding`;
  // null: there is no memory for it. It counts once SetReady is called.
  std::byte* Room(kernels::Encoding encoding);
  // Whether Room has it already, from an older version's copy.
  bool HasRoom(kernels::Encoding encoding) const;
  void SetReady(kernels::Encoding encoding);

  // Of a prepared encoding, or F32.
  const std::byte* bytes(kernels::Encoding encoding) const;

  // Before it is written again: its copies are of something else now.
  void Invalidate();

 private:
  struct Copy {
    enum class State { kNone, kMaking, kReady };
    State state = State::kNone;
    bool asked_for = false;
    Buffer buffer;  // kept when the copy is out of date
    std::vector<std::function<void(absl::Status)>> waiting;
  };

  // The copy's memory, new where it has none yet. One caller at a time.
  absl::StatusOr<std::byte*> Allocate(kernels::Encoding encoding)
      ACCRUE_EXCLUDES(mu_);
  void Make(kernels::Encoding encoding, WorkPool* pool,
            const WorkPool::Lane& lane) ACCRUE_EXCLUDES(mu_);
  void Finish(kernels::Encoding encoding, absl::Status status)
      ACCRUE_EXCLUDES(mu_);
  static int Index(kernels::Encoding encoding) {
    return encoding == kernels::Encoding::kBf16 ? 0 : 1;
  }

  Buffer floats_;
  const int64_t elems_;
  CopyPermit* const permit_;
  Device* const device_;
  MemoryLedger* const ledger_;
  mutable Mutex mu_;
  Copy copies_[2] ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_GROUP_BUFFER_H_
