// CheckpointMemory: what checkpoints may copy arrays into before they are
// written, shared by all models of the process (--checkpoint_memory).
//
// Units.     blocks of one piece, kStatePieceElems elements.
// Memory.    allocated when it is first needed, and kept until no block is in
//            use: then all of it goes back. Charged as MemoryTag::kStaging.
//            Blocks begin at a page: files are written from them uncopied.
// Order.     who found none is told in the order of asking, one for each block
//            that comes back.
// Threading. safe. Blocks keep it alive.
#ifndef ACCRUE_SERVER_DURABILITY_CHECKPOINT_MEMORY_H_
#define ACCRUE_SERVER_DURABILITY_CHECKPOINT_MEMORY_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "server/base/memory_ledger.h"
#include "server/base/mutex.h"

namespace accrue {

class CheckpointMemory : public std::enable_shared_from_this<CheckpointMemory> {
 public:
  // As many whole blocks as fit into `budget_bytes`; at least one. `ledger`
  // outlives it; null: charged to nobody.
  CheckpointMemory(int64_t budget_bytes, const MemoryLedger* ledger);

  struct FreePages {
    void operator()(float* memory) const;
  };
  using Floats = std::unique_ptr<float[], FreePages>;

  // Given back when it is destroyed.
  class Block {
   public:
    Block() = default;
    Block(Block&& other) noexcept = default;
    Block& operator=(Block&& other) noexcept;
    ~Block() { Release(); }
    float* data() const { return data_.get(); }  // null: there was none

   private:
    friend class CheckpointMemory;
    void Release();

    std::shared_ptr<CheckpointMemory> owner_;
    Floats data_;
  };

  // If there is none, `when_free` runs once there is one, on the thread that
  // gives it back; another may be quicker to take it.
  Block Take(std::function<void()> when_free) ACCRUE_EXCLUDES(mutex_);

  // Tells the first who waits, if there is a block after all.
  void PassOn() ACCRUE_EXCLUDES(mutex_);

  // Times that a model found no block and its folds waited, and for how long.
  struct Waits {
    int64_t count = 0;
    absl::Duration duration;
  };
  Waits waits() const ACCRUE_EXCLUDES(mutex_);
  int64_t block_count() const { return block_count_; }

 private:
  struct Waiter {
    std::function<void()> when_free;
    absl::Time since;
  };

  void GiveBack(Floats data) ACCRUE_EXCLUDES(mutex_);

  const int64_t block_count_;
  const MemoryLedger* const ledger_;
  mutable Mutex mutex_;
  std::vector<Floats> free_ ACCRUE_GUARDED_BY(mutex_);
  int64_t in_use_ ACCRUE_GUARDED_BY(mutex_) = 0;
  // Of those in use, and of free_.
  std::vector<MemoryLedger::Charge> charges_ ACCRUE_GUARDED_BY(mutex_);
  std::deque<Waiter> waiting_ ACCRUE_GUARDED_BY(mutex_);
  Waits waits_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHECKPOINT_MEMORY_H_
