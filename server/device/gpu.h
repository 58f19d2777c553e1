// Gpu: one accelerator: its memory, and streams that work on it one operation
// after another.
//
// Memory.    arrays on the device are aligned to 256 bytes at least, and
//            RESOURCE_EXHAUSTED for one harms no other. They cannot be read or
//            written by the host: only by copies and kernels on a stream.
//            AllocateHost's memory is pinned, for any GPU of the process. What
//            a lost GPU cannot give back is charged for good where it is the
//            host's, and to nobody where it is its own, which is of no use to
//            anybody any more.
// Order.     operations of one stream run in the order in which they were
//            queued; those of two streams in any order, and at the same time.
//            Queueing one does not wait for it.
// Errors.    INTERNAL: the operation, or one that the same stream queued
//            before it, failed. A GPU that is lost fails everything from then
//            on, and says to what it was lost.
// Threading. a Gpu is safe, streams and events are compatible.
#ifndef ACCRUE_SERVER_DEVICE_GPU_H_
#define ACCRUE_SERVER_DEVICE_GPU_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"
#include "server/device/device.h"

namespace accrue {

// A point in a stream that the host can wait for.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks until all that its stream had queued when it was recorded last has
  // ended; returns at once if it never was. INTERNAL: some of that failed.
  virtual absl::Status Wait() = 0;
};

class Stream {
 public:
  // Waits for what is queued.
  virtual ~Stream() = default;
  // The host's memory may be touched again when the copy has ended.
  virtual absl::Status CopyToDevice(void* to, const void* from,
                                    int64_t size_bytes) = 0;
  virtual absl::Status CopyToHost(void* to, const void* from,
                                  int64_t size_bytes) = 0;
  virtual absl::Status Zero(void* at, int64_t size_bytes) = 0;
  virtual absl::Status Record(Event& event) = 0;
  // Blocks until all that is queued has ended.
  virtual absl::Status Synchronize() = 0;
};

class Gpu : public Device {
 public:
  struct Memory {
    int64_t free_bytes = 0;
    int64_t total_bytes = 0;
  };

  bool allocates_host_memory() const final { return false; }
  virtual std::string product() const = 0;  // "NVIDIA H200"
  virtual absl::StatusOr<std::unique_ptr<Stream>> NewStream() = 0;
  virtual absl::StatusOr<std::unique_ptr<Event>> NewEvent() = 0;
  // By the driver's account.
  virtual absl::StatusOr<Memory> memory() = 0;
  // OK, or what the GPU was lost to. Never blocks.
  virtual absl::Status health() const = 0;
};

// The CUDA devices with these indices; none given: all that can run our
// kernels, at least one. NOT_FOUND: one does not exist, none exists, there is
// no driver, or Accrue was built without CUDA: the message says which.
// FAILED_PRECONDITION: a named one, or all there are, cannot run our kernels.
absl::StatusOr<std::vector<std::unique_ptr<Gpu>>> OpenCudaGpus(
    const std::vector<int>& indices);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DEVICE_GPU_H_
