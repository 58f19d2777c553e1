// FakeCore: what a FakeGpu, its streams, events and buffers share: the queues,
// when they run, and what goes wrong.
//
// Threading. safe
#ifndef ACCRUE_TESTS_DEVICE_FAKE_CORE_H_
#define ACCRUE_TESTS_DEVICE_FAKE_CORE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "tests/device/fake_gpu.h"
#include "tests/device/guarded_pages.h"

namespace accrue {

// Where an event was recorded.
struct FakePoint {
  bool reached = false;
  absl::Status result;  // of what came before it; told once
};

struct FakeOperation {
  FakeOp op = FakeOp::kKernel;
  void* to = nullptr;
  const void* from = nullptr;
  int64_t size_bytes = 0;
  std::function<absl::Status()> kernel = nullptr;
  std::shared_ptr<FakePoint> point = nullptr;
  std::optional<FakeFault> fault = std::nullopt;
};

struct FakeQueue {
  std::deque<FakeOperation> operations;
  absl::Status failed;  // not yet told
};

class FakeCore {
 public:
  explicit FakeCore(const FakeGpuOptions& options)
      : options_(options), random_(options.seed) {}

  ~FakeCore();
  FakeCore(const FakeCore&) = delete;
  FakeCore& operator=(const FakeCore&) = delete;

  const FakeGpuOptions& options() const { return options_; }

  absl::StatusOr<GuardedPages*> AddDevice(int64_t size_bytes, MemoryTag tag);
  absl::StatusOr<GuardedPages*> AddPinned(int64_t size_bytes);
  // False: they cannot be given back, since the GPU is lost.
  bool Remove(const GuardedPages* pages);

  std::shared_ptr<FakeQueue> AddQueue();
  // All that it holds is run first.
  void Remove(const std::shared_ptr<FakeQueue>& queue);

  absl::Status Enqueue(FakeQueue& queue, FakeOperation operation);
  absl::Status Wait(FakeQueue& queue, FakePoint& point);
  absl::Status Synchronize(FakeQueue& queue);

  absl::Status health() const;
  void Inject(const FakeFault& fault);
  void Lose(absl::string_view reason);
  void LandLate();
  FakeCounts counts() const;

 private:
  using Pages = std::vector<std::unique_ptr<GuardedPages>>;

  absl::Status CheckMemory(const FakeOperation& operation) const
      ACCRUE_REQUIRES(mu_);
  std::optional<FakeFault> TakeFault(FakeOp op) ACCRUE_REQUIRES(mu_);

  // What runs has device memory open; Close comes before the lock is given
  // back.
  void RunOne(FakeQueue& queue) ACCRUE_REQUIRES(mu_);
  void LandOne(FakeQueue& queue) ACCRUE_REQUIRES(mu_);
  void RunAll(FakeQueue& queue) ACCRUE_REQUIRES(mu_);
  void RunSome() ACCRUE_REQUIRES(mu_);
  absl::Status Perform(const FakeOperation& operation) ACCRUE_REQUIRES(mu_);
  void Corrupt(const FakeOperation& copy) ACCRUE_REQUIRES(mu_);
  absl::Status Tell(FakeQueue& queue, absl::Status failed) ACCRUE_REQUIRES(mu_);
  void Open() ACCRUE_REQUIRES(mu_);
  void Close() ACCRUE_REQUIRES(mu_);

  const FakeGpuOptions options_;
  mutable Mutex mu_;
  std::mt19937_64 random_ ACCRUE_GUARDED_BY(mu_);
  Pages device_ ACCRUE_GUARDED_BY(mu_);
  Pages pinned_ ACCRUE_GUARDED_BY(mu_);
  bool open_ ACCRUE_GUARDED_BY(mu_) = false;
  std::vector<std::shared_ptr<FakeQueue>> queues_ ACCRUE_GUARDED_BY(mu_);
  std::vector<FakeFault> faults_ ACCRUE_GUARDED_BY(mu_);
  FakeCounts counts_ ACCRUE_GUARDED_BY(mu_);
  absl::Status lost_ ACCRUE_GUARDED_BY(mu_);
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DEVICE_FAKE_CORE_H_
