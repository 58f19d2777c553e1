// FakeGpu: a Gpu of host memory, as unkind as a real one may be.
//
// Memory.    device memory can be touched only by what runs on a stream: the
//            host that tries dies of it, as does whoever runs past an array's
//            end. Freed arrays are gone, though work that needs them is queued;
//            once the GPU is lost, nothing of it is given back.
// Order.     by FakeSchedule. Host memory of copies is pinned, or the copy is
//            refused: a real GPU's copies of other memory follow other rules.
// Errors.    those that are injected, as often as they are injected; INTERNAL
//            too for arguments that are no memory of the right kind.
// Threading. safe, also to look at and to inject faults into. All that runs,
//            runs under one lock.
#ifndef ACCRUE_TESTS_DEVICE_FAKE_GPU_H_
#define ACCRUE_TESTS_DEVICE_FAKE_GPU_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/device/gpu.h"
#include "tests/device/gate.h"

namespace accrue {

enum class FakeSchedule {
  kEager,   // what is queued has run when the queueing returns
  kLazy,    // nothing runs before its own stream is waited for
  kRandom,  // whenever something is queued or waited for, some of any stream
};

// Calls of the driver that a test can hold up.
enum class FakeCall { kAllocate, kAllocateHost, kMemory };

enum class FakeOp { kCopyToDevice, kCopyToHost, kZero, kKernel, kRecord };

struct FakeFault {
  enum class Effect {
    kRefuse,   // it cannot be queued
    kFail,     // it fails when it would run, and what its stream holds behind
               // it is skipped until the host has been told
    kLose,     // the GPU is lost when it would run
    kCorrupt,  // a copy: one of its floats arrives as NaN
  };
  FakeOp op = FakeOp::kKernel;
  int64_t nth = 1;  // of those queued from now on
  Effect effect = Effect::kRefuse;
  absl::Status status = absl::InternalError("injected");
};

struct FakeGpuOptions {
  FakeSchedule schedule = FakeSchedule::kRandom;
  uint64_t seed = 1;
  int64_t capacity_bytes = int64_t{1} << 30;  // of device memory
  std::string name = "fake:0";
};

struct FakeCounts {
  int64_t device_bytes = 0;  // allocated now
  int64_t device_peak_bytes = 0;
  int64_t pinned_bytes = 0;  // allocated now
  int64_t to_device_bytes = 0;
  int64_t to_host_bytes = 0;
  int64_t run = 0;  // of all kinds, those that were skipped left out
};

class FakeCore;

// What FakeGpu's streams are.
class FakeStream : public Stream {
 public:
  // Queues what stands for a kernel: it may touch device memory, and must not
  // call the GPU, nor own memory of it.
  virtual absl::Status Enqueue(std::function<absl::Status()> kernel) = 0;
};

class FakeGpu : public Gpu {
 public:
  explicit FakeGpu(const FakeGpuOptions& options);

  std::string name() const override;
  std::string product() const override;
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override;
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override;
  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override;
  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override;
  absl::StatusOr<Memory> memory() override;
  absl::Status health() const override;

  void Inject(const FakeFault& fault);
  // Now, and for good; of what is queued nothing runs any more, but copies to
  // the host may still get there.
  void Lose(absl::string_view reason);
  // Of a lost one: those that have not yet, do so now.
  void LandLate();
  FakeCounts counts() const;
  // Where such calls wait while it is closed.
  Gate& gate(FakeCall call) { return gates_[static_cast<size_t>(call)]; }

 private:
  // Streams, events and buffers may outlive the GPU.
  const std::shared_ptr<FakeCore> core_;
  Gate gates_[3];  // [FakeCall]
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DEVICE_FAKE_GPU_H_
