// HeapDevice: a CPU whose arrays lie on the heap, each by itself, so that
// AddressSanitizer sees whoever leaves one.
#ifndef ACCRUE_TESTS_FUZZ_HEAP_DEVICE_H_
#define ACCRUE_TESTS_FUZZ_HEAP_DEVICE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/memory_ledger.h"
#include "server/device/device.h"

namespace accrue::fuzz {

class HeapDevice final : public Device {
 public:
  std::string name() const override { return "cpu"; }
  absl::StatusOr<Buffer> Allocate(int64_t size_bytes, MemoryTag tag,
                                  MemoryLedger* ledger) override;
  absl::StatusOr<Buffer> AllocateHost(int64_t size_bytes, MemoryTag tag,
                                      MemoryLedger* ledger) override {
    return Allocate(size_bytes, tag, ledger);
  }
};

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_HEAP_DEVICE_H_
