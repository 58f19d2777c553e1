#include "tests/device/fake_core.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/device/no_memory.h"

namespace accrue {
namespace {

template <class Pages>
bool Contains(const Pages& all, const void* at, int64_t size_bytes) {
  return std::any_of(all.begin(), all.end(), [&](const auto& pages) {
    return pages->Contains(at, size_bytes);
  });
}

// What any fake has pinned, is pinned for all of them.
class PinnedMemory {
 public:
  void Add(const GuardedPages* pages) {
    MutexLock lock(&mu_);
    all_.push_back(pages);
  }
  void Remove(const GuardedPages* pages) {
    MutexLock lock(&mu_);
    std::erase(all_, pages);
  }
  bool Has(const void* at, int64_t size_bytes) const {
    MutexLock lock(&mu_);
    return Contains(all_, at, size_bytes);
  }

 private:
  mutable Mutex mu_;
  std::vector<const GuardedPages*> all_ ACCRUE_GUARDED_BY(mu_);
};

PinnedMemory& PinnedOfAll() {
  static PinnedMemory memory;
  return memory;
}

}  // namespace

FakeCore::~FakeCore() {
  MutexLock lock(&mu_);
  for (const auto& pages : pinned_) PinnedOfAll().Remove(pages.get());
}

absl::StatusOr<GuardedPages*> FakeCore::AddDevice(int64_t size_bytes,
                                                  MemoryTag tag) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(lost_);
  const int64_t free_bytes = options_.capacity_bytes - counts_.device_bytes;
  auto pages = size_bytes < 0 || size_bytes > free_bytes
                   ? nullptr
                   : std::make_unique<GuardedPages>(size_bytes);
  if (pages == nullptr || pages->data() == nullptr) {
    return NoMemory(options_.name,
                    absl::StrCat("no memory for ", size_bytes, " bytes of ",
                                 MemoryTagName(tag), ": ", free_bytes, " of ",
                                 options_.capacity_bytes, " bytes are free"));
  }
  pages->Close();
  counts_.device_bytes += size_bytes;
  counts_.device_peak_bytes =
      std::max(counts_.device_peak_bytes, counts_.device_bytes);
  return device_.emplace_back(std::move(pages)).get();
}

absl::StatusOr<GuardedPages*> FakeCore::AddPinned(int64_t size_bytes) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(lost_);
  auto pages =
      size_bytes < 0 ? nullptr : std::make_unique<GuardedPages>(size_bytes);
  if (pages == nullptr || pages->data() == nullptr) {
    return NoMemory(options_.name,
                    absl::StrCat("the host has no memory to pin for ",
                                 size_bytes, " bytes"));
  }
  counts_.pinned_bytes += size_bytes;
  PinnedOfAll().Add(pages.get());
  return pinned_.emplace_back(std::move(pages)).get();
}

bool FakeCore::Remove(const GuardedPages* pages) {
  MutexLock lock(&mu_);
  if (!lost_.ok()) return false;
  const auto is_it = [pages](const auto& other) {
    return other.get() == pages;
  };
  const int64_t size_bytes = pages->size_bytes();
  PinnedOfAll().Remove(pages);
  if (std::erase_if(device_, is_it) > 0) counts_.device_bytes -= size_bytes;
  if (std::erase_if(pinned_, is_it) > 0) counts_.pinned_bytes -= size_bytes;
  return true;
}

std::shared_ptr<FakeQueue> FakeCore::AddQueue() {
  MutexLock lock(&mu_);
  return queues_.emplace_back(std::make_shared<FakeQueue>());
}

void FakeCore::Remove(const std::shared_ptr<FakeQueue>& queue) {
  MutexLock lock(&mu_);
  RunAll(*queue);
  Close();
  std::erase(queues_, queue);
}

absl::Status FakeCore::Enqueue(FakeQueue& queue, FakeOperation operation) {
  MutexLock lock(&mu_);
  ACCRUE_RETURN_IF_ERROR(lost_);
  ACCRUE_RETURN_IF_ERROR(CheckMemory(operation));
  operation.fault = TakeFault(operation.op);
  if (operation.fault.has_value() &&
      operation.fault->effect == FakeFault::Effect::kRefuse) {
    return operation.fault->status;
  }
  queue.operations.push_back(std::move(operation));
  if (options_.schedule == FakeSchedule::kEager) RunAll(queue);
  RunSome();
  Close();
  return absl::OkStatus();
}

absl::Status FakeCore::Wait(FakeQueue& queue, FakePoint& point) {
  MutexLock lock(&mu_);
  RunSome();
  while (lost_.ok() && !point.reached) RunOne(queue);
  absl::Status status =
      Tell(queue, std::exchange(point.result, absl::OkStatus()));
  Close();
  return status;
}

absl::Status FakeCore::Synchronize(FakeQueue& queue) {
  MutexLock lock(&mu_);
  RunSome();
  RunAll(queue);
  absl::Status status = Tell(queue, queue.failed);
  Close();
  return status;
}

// What was queued by now is skipped; what is queued from now on will run.
absl::Status FakeCore::Tell(FakeQueue& queue, absl::Status failed) {
  ACCRUE_RETURN_IF_ERROR(lost_);
  if (!failed.ok() && !queue.failed.ok()) {
    RunAll(queue);
    queue.failed = absl::OkStatus();
  }
  return failed;
}

absl::Status FakeCore::health() const {
  MutexLock lock(&mu_);
  return lost_;
}

void FakeCore::Inject(const FakeFault& fault) {
  MutexLock lock(&mu_);
  faults_.push_back(fault);
}

void FakeCore::Lose(absl::string_view reason) {
  MutexLock lock(&mu_);
  lost_ = absl::InternalError(absl::StrCat(options_.name, ": ", reason));
}

void FakeCore::LandLate() {
  MutexLock lock(&mu_);
  if (lost_.ok()) return;
  for (const auto& queue : queues_) {
    while (!queue->operations.empty()) LandOne(*queue);
  }
  Close();
}

FakeCounts FakeCore::counts() const {
  MutexLock lock(&mu_);
  return counts_;
}

absl::Status FakeCore::CheckMemory(const FakeOperation& operation) const {
  const auto is_pinned = [&](const void* at) {
    return PinnedOfAll().Has(at, operation.size_bytes);
  };
  const auto is_device = [&](const void* at) {
    return Contains(device_, at, operation.size_bytes);
  };
  const bool from_pinned = is_pinned(operation.from);
  const bool from_device = is_device(operation.from);
  const bool to_pinned = is_pinned(operation.to);
  const bool to_device = is_device(operation.to);
  bool fits = true;
  switch (operation.op) {
    case FakeOp::kCopyToDevice:
      fits = from_pinned && to_device;
      break;
    case FakeOp::kCopyToHost:
      fits = from_device && to_pinned;
      break;
    case FakeOp::kZero:
      fits = to_device;
      break;
    case FakeOp::kKernel:
    case FakeOp::kRecord:
      return absl::OkStatus();
  }
  if (operation.size_bytes == 0 || (operation.size_bytes > 0 && fits)) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(
      options_.name, ": ", operation.size_bytes, " bytes: from",
      from_pinned ? " pinned" : "", from_device ? " device" : "", " memory, to",
      to_pinned ? " pinned" : "", to_device ? " device" : "", " memory"));
}

std::optional<FakeFault> FakeCore::TakeFault(FakeOp op) {
  std::optional<FakeFault> taken;
  for (FakeFault& fault : faults_) {
    if (fault.op == op && --fault.nth == 0) taken = fault;
  }
  std::erase_if(faults_, [](const auto& fault) { return fault.nth == 0; });
  return taken;
}

void FakeCore::RunOne(FakeQueue& queue) {
  const FakeOperation operation = std::move(queue.operations.front());
  queue.operations.pop_front();
  if (queue.failed.ok()) queue.failed = Perform(operation);
  if (operation.point == nullptr || !lost_.ok()) return;
  operation.point->reached = true;
  operation.point->result = queue.failed;
}

// Of a lost GPU: what was on its way to the host may still get there.
void FakeCore::LandOne(FakeQueue& queue) {
  const FakeOperation operation = std::move(queue.operations.front());
  queue.operations.pop_front();
  if (operation.op != FakeOp::kCopyToHost) return;
  if (!CheckMemory(operation).ok()) return;  // gone: another GPU's
  Open();
  std::copy_n(static_cast<const std::byte*>(operation.from),
              operation.size_bytes, static_cast<std::byte*>(operation.to));
}

void FakeCore::RunAll(FakeQueue& queue) {
  while (lost_.ok() && !queue.operations.empty()) RunOne(queue);
}

void FakeCore::RunSome() {
  if (options_.schedule != FakeSchedule::kRandom) return;
  for (auto count = random_() % 4; count > 0; --count) {
    std::vector<FakeQueue*> busy;
    for (const auto& queue : queues_) {
      if (!queue->operations.empty()) busy.push_back(queue.get());
    }
    if (busy.empty()) return;
    FakeQueue& queue = *busy[random_() % busy.size()];
    lost_.ok() ? RunOne(queue) : LandOne(queue);
  }
}

absl::Status FakeCore::Perform(const FakeOperation& operation) {
  using Effect = FakeFault::Effect;
  const auto suffers = [&operation](Effect effect) {
    return operation.fault.has_value() && operation.fault->effect == effect;
  };
  if (suffers(Effect::kLose)) lost_ = operation.fault->status;
  if (!lost_.ok() || suffers(Effect::kFail)) return operation.fault->status;
  ++counts_.run;
  Open();
  auto* const to = static_cast<std::byte*>(operation.to);
  const auto* const from = static_cast<const std::byte*>(operation.from);
  switch (operation.op) {
    case FakeOp::kCopyToDevice:
      std::copy_n(from, operation.size_bytes, to);
      counts_.to_device_bytes += operation.size_bytes;
      break;
    case FakeOp::kCopyToHost:
      std::copy_n(from, operation.size_bytes, to);
      counts_.to_host_bytes += operation.size_bytes;
      break;
    case FakeOp::kZero:
      std::fill_n(to, operation.size_bytes, std::byte{0});
      break;
    case FakeOp::kKernel:
      return operation.kernel();
    case FakeOp::kRecord:
      break;
  }
  if (suffers(Effect::kCorrupt)) Corrupt(operation);
  return absl::OkStatus();
}

void FakeCore::Corrupt(const FakeOperation& copy) {
  const auto floats = static_cast<uint64_t>(copy.size_bytes) / sizeof(float);
  if (floats == 0) return;
  static_cast<float*>(copy.to)[random_() % floats] =
      std::numeric_limits<float>::quiet_NaN();
}

void FakeCore::Open() {
  if (open_) return;
  for (const auto& pages : device_) pages->Open();
  open_ = true;
}

void FakeCore::Close() {
  if (!open_) return;
  for (const auto& pages : device_) pages->Close();
  open_ = false;
}

}  // namespace accrue
