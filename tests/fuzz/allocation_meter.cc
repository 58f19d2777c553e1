#include "tests/fuzz/allocation_meter.h"

#include <algorithm>
#include <cstddef>

#include <sanitizer/allocator_interface.h>

#include "tests/fuzz/require.h"

namespace accrue::fuzz {
namespace {

bool counts = false;
int64_t live_bytes = 0;
int64_t most_bytes = 0;

void OnMalloc(const volatile void*, size_t size) {
  if (!counts) return;
  live_bytes += static_cast<int64_t>(size);
  most_bytes = std::max(most_bytes, live_bytes);
}

void OnFree(const volatile void* pointer) {
  if (!counts || pointer == nullptr) return;
  live_bytes -= static_cast<int64_t>(
      __sanitizer_get_allocated_size(const_cast<const void*>(pointer)));
}

}  // namespace

AllocationMeter::AllocationMeter() {
  static const bool hooked =
      __sanitizer_install_malloc_and_free_hooks(OnMalloc, OnFree) != 0;
  Require(hooked, "there is room for another hook of malloc");
  live_bytes = most_bytes = 0;
  counts = true;
}

AllocationMeter::~AllocationMeter() { counts = false; }

int64_t AllocationMeter::peak_bytes() const { return most_bytes; }

}  // namespace accrue::fuzz
