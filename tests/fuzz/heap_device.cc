#include "tests/fuzz/heap_device.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

namespace accrue::fuzz {
namespace {

constexpr std::align_val_t kAlignment{64};

class HeapStorage final : public Buffer::Storage {
 public:
  HeapStorage(int64_t size_bytes, MemoryLedger::Charge charge)
      : data_(operator new(static_cast<size_t>(size_bytes), kAlignment)),
        size_bytes_(size_bytes),
        charge_(std::move(charge)) {
    std::memset(data_, 0, static_cast<size_t>(size_bytes));
  }
  HeapStorage(const HeapStorage&) = delete;
  HeapStorage& operator=(const HeapStorage&) = delete;
  ~HeapStorage() override { operator delete(data_, kAlignment); }

  void* data() const override { return data_; }
  int64_t size_bytes() const override { return size_bytes_; }

 private:
  void* const data_;
  const int64_t size_bytes_;
  const MemoryLedger::Charge charge_;
};

}  // namespace

absl::StatusOr<Buffer> HeapDevice::Allocate(int64_t size_bytes, MemoryTag tag,
                                            MemoryLedger* ledger) {
  return Buffer(std::make_unique<HeapStorage>(
      size_bytes,
      ledger ? ledger->Add(tag, size_bytes) : MemoryLedger::Charge()));
}

}  // namespace accrue::fuzz
