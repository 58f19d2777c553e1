#include "server/kernels/device_transfer.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <utility>

#include "server/base/mutex.h"

namespace accrue::kernels {
namespace {

// Pieces on their way, each in a slot of its own.
class Transfer {
 public:
  explicit Transfer(StagingRing& ring) : ring_(ring) {}

  using Queue = std::function<absl::Status(StagingRing::Slot& slot)>;
  using Ended = std::function<void(const StagingRing::Slot& slot)>;
  void Piece(const Queue& queue, Ended ended) {
    StagingRing::Slot* const slot = ring_.Acquire();
    ring_.Release(
        slot, this, queue(*slot),
        [this, slot, ended = std::move(ended)](const absl::Status& status) {
          if (status.ok()) ended(*slot);
          MutexLock lock(&mu_);
          status_.Update(status);
        });
  }

  absl::Status Finish() {
    ring_.Finish(this);
    MutexLock lock(&mu_);
    return status_;
  }

 private:
  StagingRing& ring_;
  Mutex mu_;
  absl::Status status_ ACCRUE_GUARDED_BY(mu_);
};

// body(first, count) for pieces that a slot holds.
void ForEachPiece(const StagingRing& ring, int64_t count,
                  const std::function<void(int64_t, int64_t)>& body) {
  const int64_t most = ring.slot_bytes() / static_cast<int64_t>(sizeof(float));
  for (int64_t first = 0; first < count; first += most) {
    body(first, std::min(most, count - first));
  }
}

int64_t Bytes(int64_t count) {
  return count * static_cast<int64_t>(sizeof(float));
}

void Nothing(const StagingRing::Slot&) {}

}  // namespace

absl::Status CopyIn(StagingRing& ring, const float* host, int64_t count,
                    float* device) {
  Transfer transfer(ring);
  ForEachPiece(ring, count, [&](int64_t first, int64_t piece) {
    transfer.Piece(
        [&](StagingRing::Slot& slot) {
          std::memcpy(slot.host(), host + first,
                      static_cast<size_t>(Bytes(piece)));
          return slot.stream().CopyToDevice(device + first, slot.host(),
                                            Bytes(piece));
        },
        Nothing);
  });
  return transfer.Finish();
}

absl::Status CopyOut(StagingRing& ring, const float* device, int64_t count,
                     float* host) {
  Transfer transfer(ring);
  ForEachPiece(ring, count, [&](int64_t first, int64_t piece) {
    transfer.Piece(
        [&](StagingRing::Slot& slot) {
          return slot.stream().CopyToHost(slot.host(), device + first,
                                          Bytes(piece));
        },
        [host, first, piece](const StagingRing::Slot& slot) {
          std::memcpy(host + first, slot.host(),
                      static_cast<size_t>(Bytes(piece)));
        });
  });
  return transfer.Finish();
}

absl::Status SetToZero(StagingRing& ring, float* device, int64_t count) {
  Transfer transfer(ring);
  transfer.Piece(
      [&](StagingRing::Slot& slot) {
        return slot.stream().Zero(device, Bytes(count));
      },
      Nothing);
  return transfer.Finish();
}

}  // namespace accrue::kernels
