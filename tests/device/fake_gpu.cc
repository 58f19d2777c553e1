#include "tests/device/fake_gpu.h"

#include <utility>

#include "server/base/status_macros.h"
#include "tests/device/fake_core.h"

namespace accrue {
namespace {

class FakeMemory : public Buffer::Storage {
 public:
  FakeMemory(std::shared_ptr<FakeCore> core, const GuardedPages* pages,
             bool pinned, MemoryLedger::Charge charge)
      : core_(std::move(core)),
        pages_(pages),
        pinned_(pinned),
        charge_(std::move(charge)) {}
  FakeMemory(const FakeMemory&) = delete;
  FakeMemory& operator=(const FakeMemory&) = delete;
  ~FakeMemory() override {
    if (!core_->Remove(pages_) && pinned_) charge_.Keep();
  }

  void* data() const override { return pages_->data(); }
  int64_t size_bytes() const override { return pages_->size_bytes(); }

 private:
  const std::shared_ptr<FakeCore> core_;
  const GuardedPages* const pages_;
  const bool pinned_;
  MemoryLedger::Charge charge_;
};

class FakeEvent : public Event {
 public:
  explicit FakeEvent(std::shared_ptr<FakeCore> core) : core_(std::move(core)) {}

  absl::Status Record(const std::shared_ptr<FakeQueue>& queue) {
    auto point = std::make_shared<FakePoint>();
    ACCRUE_RETURN_IF_ERROR(
        core_->Enqueue(*queue, {.op = FakeOp::kRecord, .point = point}));
    queue_ = queue;
    point_ = std::move(point);
    return absl::OkStatus();
  }

  absl::Status Wait() override {
    if (point_ == nullptr) return core_->health();
    return core_->Wait(*queue_, *point_);
  }

 private:
  const std::shared_ptr<FakeCore> core_;
  std::shared_ptr<FakeQueue> queue_;
  std::shared_ptr<FakePoint> point_;  // null: not recorded
};

class QueueStream : public FakeStream {
 public:
  explicit QueueStream(std::shared_ptr<FakeCore> core)
      : core_(std::move(core)), queue_(core_->AddQueue()) {}
  QueueStream(const QueueStream&) = delete;
  QueueStream& operator=(const QueueStream&) = delete;
  ~QueueStream() override { core_->Remove(queue_); }

  absl::Status CopyToDevice(void* to, const void* from,
                            int64_t size_bytes) override {
    return core_->Enqueue(*queue_, {.op = FakeOp::kCopyToDevice,
                                    .to = to,
                                    .from = from,
                                    .size_bytes = size_bytes});
  }

  absl::Status CopyToHost(void* to, const void* from,
                          int64_t size_bytes) override {
    return core_->Enqueue(*queue_, {.op = FakeOp::kCopyToHost,
                                    .to = to,
                                    .from = from,
                                    .size_bytes = size_bytes});
  }

  absl::Status Zero(void* at, int64_t size_bytes) override {
    return core_->Enqueue(
        *queue_, {.op = FakeOp::kZero, .to = at, .size_bytes = size_bytes});
  }

  absl::Status Record(Event& event) override {
    return static_cast<FakeEvent&>(event).Record(queue_);
  }

  absl::Status Synchronize() override { return core_->Synchronize(*queue_); }

  absl::Status Enqueue(std::function<absl::Status()> kernel) override {
    return core_->Enqueue(*queue_,
                          {.op = FakeOp::kKernel, .kernel = std::move(kernel)});
  }

 private:
  const std::shared_ptr<FakeCore> core_;
  const std::shared_ptr<FakeQueue> queue_;
};

}  // namespace

FakeGpu::FakeGpu(const FakeGpuOptions& options)
    : core_(std::make_shared<FakeCore>(options)) {}

std::string FakeGpu::name() const { return core_->options().name; }
std::string FakeGpu::product() const { return "fake"; }

absl::StatusOr<Buffer> FakeGpu::Allocate(int64_t size_bytes, MemoryTag tag,
                                         MemoryLedger* ledger) {
  gate(FakeCall::kAllocate).Pass();
  ACCRUE_ASSIGN_OR_RETURN(const GuardedPages* pages,
                          core_->AddDevice(size_bytes, tag));
  return Buffer(std::make_unique<FakeMemory>(
      core_, pages, /*pinned=*/false,
      ledger ? ledger->Add(tag, size_bytes) : MemoryLedger::Charge()));
}

absl::StatusOr<Buffer> FakeGpu::AllocateHost(int64_t size_bytes, MemoryTag tag,
                                             MemoryLedger* ledger) {
  gate(FakeCall::kAllocateHost).Pass();
  ACCRUE_ASSIGN_OR_RETURN(const GuardedPages* pages,
                          core_->AddPinned(size_bytes));
  return Buffer(std::make_unique<FakeMemory>(
      core_, pages, /*pinned=*/true,
      ledger ? ledger->Add(tag, size_bytes) : MemoryLedger::Charge()));
}

absl::StatusOr<std::unique_ptr<Stream>> FakeGpu::NewStream() {
  ACCRUE_RETURN_IF_ERROR(core_->health());
  return std::make_unique<QueueStream>(core_);
}

absl::StatusOr<std::unique_ptr<Event>> FakeGpu::NewEvent() {
  ACCRUE_RETURN_IF_ERROR(core_->health());
  return std::make_unique<FakeEvent>(core_);
}

absl::StatusOr<Gpu::Memory> FakeGpu::memory() {
  gate(FakeCall::kMemory).Pass();
  ACCRUE_RETURN_IF_ERROR(core_->health());
  const int64_t total_bytes = core_->options().capacity_bytes;
  return Memory{.free_bytes = total_bytes - counts().device_bytes,
                .total_bytes = total_bytes};
}

absl::Status FakeGpu::health() const { return core_->health(); }
void FakeGpu::Inject(const FakeFault& fault) { core_->Inject(fault); }
void FakeGpu::Lose(absl::string_view reason) { core_->Lose(reason); }
void FakeGpu::LandLate() { core_->LandLate(); }
FakeCounts FakeGpu::counts() const { return core_->counts(); }

}  // namespace accrue
