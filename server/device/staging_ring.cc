#include "server/device/staging_ring.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace accrue {

absl::StatusOr<std::unique_ptr<StagingRing>> StagingRing::Make(
    Gpu* gpu, const StagingOptions& options) {
  if (options.slots < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("a staging ring of ", options.slots, " slots"));
  }
  std::unique_ptr<StagingRing> ring(new StagingRing(options.slot_bytes));
  for (int i = 0; i < options.slots; ++i) {
    auto slot = std::make_unique<Slot>();
    ACCRUE_ASSIGN_OR_RETURN(
        slot->host_, gpu->AllocateHost(options.slot_bytes, MemoryTag::kStaging,
                                       options.ledger));
    ACCRUE_ASSIGN_OR_RETURN(
        slot->device_,
        gpu->Allocate(options.slot_bytes, MemoryTag::kStaging, options.ledger));
    ACCRUE_ASSIGN_OR_RETURN(slot->stream_, gpu->NewStream());
    ACCRUE_ASSIGN_OR_RETURN(slot->event_, gpu->NewEvent());
    ring->slots_.push_back(std::move(slot));
  }
  return ring;
}

StagingRing::~StagingRing() {
  MutexLock lock(&mu_);
  while (!running_.empty()) End(running_.front(), Slot::State::kFree);
}

StagingRing::Slot* StagingRing::Acquire() {
  MutexLock lock(&mu_);
  while (true) {
    for (const auto& slot : slots_) {
      if (slot->state_ != Slot::State::kFree) continue;
      slot->state_ = Slot::State::kFilling;
      return slot.get();
    }
    if (!running_.empty()) {
      Slot* const slot = running_.front();
      End(slot, Slot::State::kFilling);
      return slot;
    }
    changed_.Wait(&mu_);
  }
}

void StagingRing::Release(Slot* slot, const void* owner, absl::Status queued,
                          std::function<void(const absl::Status&)> ended) {
  // Also when not all was queued: what was may still be running.
  absl::Status recorded = slot->stream_->Record(*slot->event_);
  slot->recorded_ = recorded.ok();
  slot->queued_ = queued.ok() ? std::move(recorded) : std::move(queued);
  slot->ended_ = std::move(ended);

  MutexLock lock(&mu_);
  slot->owner_ = owner;
  slot->state_ = Slot::State::kRunning;
  running_.push_back(slot);
  changed_.SignalAll();
}

void StagingRing::Finish(const void* owner) {
  const auto find = [owner](const auto& slots, Slot::State state) {
    return std::find_if(slots.begin(), slots.end(), [&](const auto& slot) {
      return slot->state_ == state && slot->owner_ == owner;
    });
  };
  MutexLock lock(&mu_);
  while (true) {
    const auto oldest = find(running_, Slot::State::kRunning);
    if (oldest != running_.end()) {
      End(*oldest, Slot::State::kFree);
    } else if (find(slots_, Slot::State::kEnding) != slots_.end()) {
      changed_.Wait(&mu_);  // another thread is ending it
    } else {
      return;
    }
  }
}

void StagingRing::End(Slot* slot, Slot::State then) {
  running_.erase(std::find(running_.begin(), running_.end(), slot));
  slot->state_ = Slot::State::kEnding;
  mu_.Unlock();
  const absl::Status ran =
      slot->recorded_ ? slot->event_->Wait() : slot->stream_->Synchronize();
  // Gone, with all that it holds, before anyone hears that it has run.
  std::exchange(slot->ended_,
                nullptr)(slot->queued_.ok() ? ran : slot->queued_);
  mu_.Lock();
  slot->state_ = then;
  changed_.SignalAll();
}

}  // namespace accrue
