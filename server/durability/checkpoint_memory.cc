#include "server/durability/checkpoint_memory.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/time/clock.h"
#include "server/model/training_state.h"

namespace accrue {
namespace {

constexpr int64_t kBlockBytes =
    kStatePieceElems * static_cast<int64_t>(sizeof(float));
constexpr std::align_val_t kPage{4096};

}  // namespace

void CheckpointMemory::FreePages::operator()(float* memory) const {
  ::operator delete(memory, kPage);
}

CheckpointMemory::CheckpointMemory(int64_t budget_bytes,
                                   const MemoryLedger* ledger)
    : block_count_(std::max<int64_t>(budget_bytes / kBlockBytes, 1)),
      ledger_(ledger) {}

CheckpointMemory::Block& CheckpointMemory::Block::operator=(
    Block&& other) noexcept {
  if (this != &other) {
    Release();
    owner_ = std::move(other.owner_);
    data_ = std::move(other.data_);
  }
  return *this;
}

void CheckpointMemory::Block::Release() {
  if (data_ == nullptr) return;
  std::exchange(owner_, nullptr)->GiveBack(std::move(data_));
}

CheckpointMemory::Block CheckpointMemory::Take(
    std::function<void()> when_free) {
  Block block;
  {
    MutexLock lock(&mutex_);
    if (in_use_ == block_count_) {
      waiting_.push_back({std::move(when_free), absl::Now()});
      ++waits_.count;
      return block;
    }
    ++in_use_;
    block.owner_ = shared_from_this();
    if (!free_.empty()) {
      block.data_ = std::move(free_.back());
      free_.pop_back();
      return block;
    }
    if (ledger_ != nullptr) {
      charges_.push_back(ledger_->Add(MemoryTag::kStaging, kBlockBytes));
    }
  }
  block.data_.reset(static_cast<float*>(::operator new(kBlockBytes, kPage)));
  return block;
}

void CheckpointMemory::GiveBack(Floats data) {
  Waiter waiter;
  std::vector<Floats> unused;
  {
    MutexLock lock(&mutex_);
    --in_use_;
    free_.push_back(std::move(data));
    if (!waiting_.empty()) {
      waiter = std::move(waiting_.front());
      waiting_.pop_front();
      waits_.duration += absl::Now() - waiter.since;
    } else if (in_use_ == 0) {
      unused.swap(free_);
      charges_.clear();
    }
  }
  if (waiter.when_free != nullptr) waiter.when_free();
}

void CheckpointMemory::PassOn() {
  Waiter waiter;
  {
    MutexLock lock(&mutex_);
    if (waiting_.empty() || in_use_ == block_count_) return;
    waiter = std::move(waiting_.front());
    waiting_.pop_front();
    waits_.duration += absl::Now() - waiter.since;
  }
  waiter.when_free();
}

CheckpointMemory::Waits CheckpointMemory::waits() const {
  MutexLock lock(&mutex_);
  return waits_;
}

}  // namespace accrue
