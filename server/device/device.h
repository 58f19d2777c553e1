// Device: where arrays live. A CPU's memory here; a GPU's in gpu.h.
//
// Memory.    buffers are zero at first, aligned to 64 bytes at least, charged
//            to a ledger while they live, and freed by their destructor.
// Errors.    RESOURCE_EXHAUSTED kDeviceMemory: no memory, with the bytes asked
//            for; nothing is left allocated.
// Threading. safe.
#ifndef ACCRUE_SERVER_DEVICE_DEVICE_H_
#define ACCRUE_SERVER_DEVICE_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"

namespace accrue {

// An owned array of bytes on a device. Movable; empty when moved from.
class Buffer {
 public:
  // What a device keeps behind a buffer; freed with it.
  class Storage {
   public:
    virtual ~Storage() = default;
    virtual void* data() const = 0;
    virtual int64_t size_bytes() const = 0;
  };

  Buffer() = default;
  explicit Buffer(std::unique_ptr<Storage> storage)
      : storage_(std::move(storage)) {}

  void* data() const { return storage_ ? storage_->data() : nullptr; }
  int64_t size_bytes() const { return storage_ ? storage_->size_bytes() : 0; }

 private:
  std::unique_ptr<Storage> storage_;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;  // "cpu", "cuda:0"
  // Whether Allocate's memory is the host's, as AllocateHost's always is.
  virtual bool allocates_host_memory() const { return true; }
  // Memory for arrays that kernels on this device work on. A null ledger:
  // charged to nobody.
  virtual absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                          MemoryLedger* ledger) = 0;
  // Host memory that this device copies to and from fastest (the CPU:
  // plain; a GPU: pinned). Publications live here.
  virtual absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                              MemoryLedger* ledger) = 0;
};

std::unique_ptr<Device> MakeCpuDevice();

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_DEVICE_H_
