#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/device/device.h"
#include "server/device/no_memory.h"

namespace accrue {
namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;

// Arrays that all began at the same offset in a page would meet in the same
// few sets of a core's first cache, element for element, and evict each other.
// So each array begins a little further into its first page than the last.
constexpr int64_t kStaggerBytes = 576;
constexpr int64_t kStaggerCount = 7;
static_assert(kStaggerBytes % 64 == 0);

// Pages of our own: zero without being written, and given back at once.
class MappedStorage : public Buffer::Storage {
 public:
  MappedStorage(void* mapping, int64_t mapping_bytes, int64_t data_offset,
                int64_t size_bytes, MemoryLedger::Charge charge)
      : mapping_(mapping),
        mapping_bytes_(mapping_bytes),
        data_offset_(data_offset),
        size_bytes_(size_bytes),
        charge_(std::move(charge)) {}
  MappedStorage(const MappedStorage&) = delete;
  MappedStorage& operator=(const MappedStorage&) = delete;
  ~MappedStorage() override {
    munmap(mapping_, static_cast<size_t>(mapping_bytes_));
  }

  void* data() const override {
    return static_cast<char*>(mapping_) + data_offset_;
  }
  int64_t size_bytes() const override { return size_bytes_; }

 private:
  void* const mapping_;
  const int64_t mapping_bytes_;
  const int64_t data_offset_;
  const int64_t size_bytes_;
  const MemoryLedger::Charge charge_;
};

absl::Status NoMemoryFor(int64_t size_bytes, MemoryTag tag) {
  const int error = errno;
  return NoMemory("cpu",
                  absl::StrCat("no memory for ", size_bytes, " bytes of ",
                               MemoryTagName(tag), ": ", std::strerror(error)));
}

class CpuDevice : public Device {
 public:
  std::string name() const override { return "cpu"; }

  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override {
    const bool huge = size_bytes >= kHugePageBytes;
    const int64_t align_bytes = huge ? kHugePageBytes : 0;
    const int64_t stagger_bytes =
        kStaggerBytes * (allocations_.fetch_add(1) % kStaggerCount);
    // An absurd size must not wrap around into a small one.
    if (size_bytes < 0 || size_bytes > INT64_MAX / 2) {
      errno = ENOMEM;
      return NoMemoryFor(size_bytes, tag);
    }
    const int64_t mapping_bytes =
        size_bytes + stagger_bytes + align_bytes + 1;  // not 0
    void* const mapping =
        mmap(nullptr, static_cast<size_t>(mapping_bytes),
             PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return NoMemoryFor(size_bytes, tag);

    int64_t data_offset = stagger_bytes;
    if (huge) {
      const auto address = reinterpret_cast<uintptr_t>(mapping);
      const auto aligned =
          (address + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
      data_offset += static_cast<int64_t>(aligned - address);
      // A request; without huge pages everything works, a little slower.
      madvise(mapping, static_cast<size_t>(mapping_bytes), MADV_HUGEPAGE);
    }
    return Buffer(std::make_unique<MappedStorage>(
        mapping, mapping_bytes, data_offset, size_bytes,
        ledger ? ledger->Add(tag, size_bytes) : MemoryLedger::Charge()));
  }

  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    return Allocate(size_bytes, tag, ledger);
  }

 private:
  std::atomic<int64_t> allocations_{0};
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice() {
  return std::make_unique<CpuDevice>();
}

}  // namespace accrue
